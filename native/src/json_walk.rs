//! The walk over a JSON text that applies our content rules.
//!
//! jiter reads the tokens and judges the grammar. The walk keeps its own stack, so that a level
//! of nesting costs a byte and no thread stack. Only a syntax error ends it.

use jiter::{Jiter, JiterError, JiterErrorType, JiterResult, JsonErrorType, Peek};

use crate::json_nesting::{Container, Nesting};
use crate::json_number::{Numbers, too_long};
use crate::json_problem::{Rule, ScanProblem};

const MAX_NAME_BYTES: usize = 256;
/// Broken content rules that are reported at most; a syntax error may follow them.
const MAX_PROBLEMS: usize = 20;

pub struct Walk<'t> {
    /// The text with lone surrogates masked: same length as the original.
    text: &'t [u8],
    /// Offsets of the masked escapes that have not been passed yet.
    lone: &'t [usize],
    /// Where in `text` the tokenizer began: it is restarted behind numbers that it refuses.
    base: usize,
    pub tokens: Jiter<'t>,
    pub nesting: Nesting,
    numbers: Numbers,
    problems: Vec<ScanProblem>,
}

impl<'t> Walk<'t> {
    pub fn new(text: &'t [u8], lone: &'t [usize], max_depth: usize) -> Self {
        Self {
            text,
            lone,
            base: 0,
            tokens: Jiter::new(text),
            nesting: Nesting::new(max_depth),
            numbers: Numbers::default(),
            problems: Vec::new(),
        }
    }

    /// Every problem found, the syntax error that ended the walk last.
    pub fn into_problems(mut self, end: &JiterResult<()>) -> Vec<ScanProblem> {
        if let Err(error) = end {
            let detail = format!("is not valid JSON: {}", error.error_type);
            let offset = self.base + error.index;
            let problem = ScanProblem::new(Rule::Syntax, self.text, &[], offset, detail);
            self.problems.push(problem);
        }
        self.problems
    }

    /// Reads one value and everything in it.
    pub fn value(&mut self) -> JiterResult<()> {
        let floor = self.nesting.depth();
        loop {
            let entered = self.begin_value()?;
            if !self.seek_next_value(entered, floor)? {
                return Ok(());
            }
        }
    }

    /// Reads a scalar, or stands before the bracket of a container and notes it as open (true).
    fn begin_value(&mut self) -> JiterResult<bool> {
        match self.tokens.peek()? {
            Peek::Null => self.tokens.known_null()?,
            truth @ (Peek::True | Peek::False) => drop(self.tokens.known_bool(truth)?),
            Peek::String => self.string()?,
            Peek::Array => return Ok(self.enter(Container::Array)),
            Peek::Object => return Ok(self.enter(Container::Object)),
            // Also whatever starts no value at all: the tokenizer says so.
            number => self.number(number)?,
        }
        Ok(false)
    }

    pub fn enter(&mut self, container: Container) -> bool {
        if self.nesting.is_full() {
            let detail = format!("is nested deeper than {} levels", self.nesting.max_depth());
            self.report(Rule::TooDeep, self.offset(), detail);
        }
        self.nesting.enter(container);
        true
    }

    /// Goes to the next value, closing containers that end, but none at or below `floor`.
    ///
    /// `entered` tells that the innermost container was only just opened.
    fn seek_next_value(&mut self, mut entered: bool, floor: usize) -> JiterResult<bool> {
        while self.nesting.depth() > floor {
            let found = match self.nesting.innermost() {
                Some(Container::Object) => self.member(entered)?,
                _ => self.element(entered)?,
            };
            if found {
                return Ok(true);
            }
            self.nesting.leave();
            entered = false;
        }
        Ok(false)
    }

    pub fn element(&mut self, first: bool) -> JiterResult<bool> {
        if first {
            return Ok(self.tokens.known_array()?.is_some());
        }
        self.nesting.next_element();
        Ok(self.tokens.array_step()?.is_some())
    }

    fn member(&mut self, first: bool) -> JiterResult<bool> {
        let Some((quote, bytes)) = self.name(first, str::len)? else {
            return Ok(false);
        };
        if bytes > MAX_NAME_BYTES {
            let detail = format!("has a name of {bytes} bytes, more than {MAX_NAME_BYTES}");
            self.report(Rule::NameTooLong, quote, detail);
        }
        Ok(true)
    }

    /// Reads the next name of the innermost object and its colon, and points the path's last step
    /// at it. Returns the offset of its opening quote and what `look` made of the decoded name;
    /// None at the end of the object. `first` tells that the object was only just opened.
    pub fn name<T>(
        &mut self,
        first: bool,
        look: impl FnOnce(&str) -> T,
    ) -> JiterResult<Option<(usize, T)>> {
        let from = self.offset();
        let name = if first {
            self.tokens.known_object()?
        } else {
            self.tokens.next_key()?
        };
        let Some(name) = name else { return Ok(None) };
        let (seen, has_nul) = (look(name), has_nul(name));
        // Before a name there are only a bracket or comma and white space.
        let quote = from + memchr::memchr(b'"', &self.text[from..]).unwrap_or_default();
        self.nesting.point_at_member(quote);
        self.report_characters(quote, has_nul, "has a name that ");
        Ok(Some((quote, seen)))
    }

    fn string(&mut self) -> JiterResult<()> {
        let quote = self.offset();
        let has_nul = has_nul(self.tokens.known_str()?);
        self.report_characters(quote, has_nul, "");
        Ok(())
    }

    /// Notes NUL and the lone surrogates that were masked between here and what was read before.
    fn report_characters(&mut self, quote: usize, has_nul: bool, what: &str) {
        if has_nul {
            let detail = format!("{what}holds U+0000");
            self.report(Rule::Nul, quote, detail);
        }
        let end = self.offset();
        let passed = self.lone.iter().take_while(|&&at| at < end).count();
        if let Some(&escape) = self.lone[..passed].first() {
            let detail = format!("{what}holds half of a surrogate pair");
            self.report(Rule::LoneSurrogate, escape, detail);
        }
        self.lone = &self.lone[passed..];
    }

    fn number(&mut self, first: Peek) -> JiterResult<()> {
        let start = self.offset();
        let problem = match self.tokens.known_number_bytes(first) {
            Ok(token) => self.numbers.problem_of(token),
            Err(error) if is_out_of_range(&error) => {
                self.skip_long_integer(start)?;
                Some(too_long())
            }
            Err(error) => return Err(error),
        };
        if let Some(detail) = problem {
            self.report(Rule::NumberTooLong, start, detail);
        }
        Ok(())
    }

    /// Reads a number whose integer part is more than the tokenizer takes (4,300 digits).
    ///
    /// It starts again at the last of those digits: with that, what follows is a number still.
    fn skip_long_integer(&mut self, start: usize) -> JiterResult<()> {
        let digits = start + usize::from(self.text[start] == b'-');
        let run = self.text[digits..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        self.base = digits + run - 1;
        self.tokens = Jiter::new(&self.text[self.base..]);
        let digit = self.tokens.peek()?;
        self.tokens.known_number_bytes(digit).map(drop)
    }

    /// Notes a broken rule. Inside what is too deep only the syntax matters any more.
    pub fn report(&mut self, rule: Rule, offset: usize, detail: String) {
        if self.problems.len() < MAX_PROBLEMS && !self.nesting.is_too_deep() {
            let problem = ScanProblem::new(rule, self.text, self.nesting.path(), offset, detail);
            self.problems.push(problem);
        }
    }

    pub fn offset(&self) -> usize {
        self.base + self.tokens.current_index()
    }
}

fn has_nul(text: &str) -> bool {
    memchr::memchr(0, text.as_bytes()).is_some()
}

fn is_out_of_range(error: &JiterError) -> bool {
    error.error_type == JiterErrorType::JsonError(JsonErrorType::NumberOutOfRange)
}

#[cfg(test)]
mod tests {
    use super::{MAX_PROBLEMS, Walk};
    use crate::json_surrogate::mask_lone_surrogates;

    /// The rules that a text breaks, each with its pointer.
    fn rules(text: &str, max_depth: usize) -> Vec<String> {
        let (masked, lone) = mask_lone_surrogates(text.as_bytes());
        let mut walk = Walk::new(&masked, &lone, max_depth);
        let end = walk.value().and_then(|()| walk.tokens.finish());
        let problems = walk.into_problems(&end);
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn clean_values_pass() {
        for text in [
            "null",
            " [ ] ",
            "{}",
            r#"{"a":[1,{"b":[]},"\\u0000"],"a":true}"#,
        ] {
            assert_eq!(rules(text, 4), [""; 0], "{text}");
        }
    }

    #[test]
    fn each_content_problem_is_found_where_it_is() {
        let text = format!(
            r#"{{"a":["\u0000",1e1000,"\udc00x\udc00"],"\u0000":1,"\ud800":2,"{}":[[3]],"z":[0,[[]]]}}"#,
            "n".repeat(257)
        );
        let long = format!("{}…", "n".repeat(256));
        let expected = [
            "nul /a/0".to_owned(),
            "number-too-long /a/1".into(),
            "lone-surrogate /a/2".into(),
            "nul /\0".into(),
            "lone-surrogate /\u{fffd}".into(),
            format!("name-too-long /{long}"),
            "too-deep /z/1/0".into(),
        ];
        assert_eq!(rules(&text, 3), expected);
    }

    #[test]
    fn depth_costs_neither_stack_nor_the_syntax_verdict() {
        let n = 1 << 20;
        let closed = "[".repeat(n) + &"]".repeat(n);
        assert_eq!(rules(&closed, 2), ["too-deep /0/0"]);
        assert_eq!(rules(&"[".repeat(n), 2), ["too-deep /0/0", "syntax "]);
        let members = r#"{"\u0000":"#.repeat(3) + "1e9999" + "}}}";
        assert_eq!(rules(&members, 1), ["nul /\0", "too-deep /\0"]);
    }

    #[test]
    fn numbers_that_the_tokenizer_refuses_are_read_to_their_end() {
        let digits = "7".repeat(5000);
        for tail in ["", "0", ".5", "e3", ".5e-3"] {
            let text = format!(r#"[-{digits}{tail},{digits}{tail},"\u0000"]"#);
            assert_eq!(
                rules(&text, 1),
                ["number-too-long /0", "number-too-long /1", "nul /2"],
                "{tail}"
            );
        }
        for tail in [".", "e", "x", ".5e", "-"] {
            let found = rules(&format!("[{digits}{tail}]"), 1);
            assert_eq!(found.last().unwrap(), "syntax ", "{tail}");
        }
    }

    #[test]
    fn reports_are_bounded_and_a_syntax_error_still_shows() {
        let text = format!("[{}", r#""\ud800","#.repeat(5000));
        let found = rules(&text, 1);
        assert_eq!(found.len(), MAX_PROBLEMS + 1);
        assert_eq!(found.last().unwrap(), "syntax ");
    }
}
