//! What the scanner reports, and where.

use jiter::Jiter;
use pyo3::prelude::*;

/// A name in a pointer or a message is cut after this many bytes, so that a report stays small.
const SHOWN_NAME_BYTES: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    Syntax,
    DuplicateMember,
    UnknownMember,
    NotAnObject,
    TooDeep,
    NameTooLong,
    Nul,
    LoneSurrogate,
    NumberTooLong,
}

impl Rule {
    const fn name(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::DuplicateMember => "duplicate-member",
            Self::UnknownMember => "unknown-member",
            Self::NotAnObject => "not-an-object",
            Self::TooDeep => "too-deep",
            Self::NameTooLong => "name-too-long",
            Self::Nul => "nul",
            Self::LoneSurrogate => "lone-surrogate",
            Self::NumberTooLong => "number-too-long",
        }
    }
}

/// One place at which a text breaks a rule; see the stub.
#[pyclass(frozen, eq, get_all, module = "service.native")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanProblem {
    rule: &'static str,
    pointer: String,
    line: usize,
    column: usize,
    detail: String,
}

#[pymethods]
impl ScanProblem {
    fn __repr__(&self) -> String {
        format!(
            "<ScanProblem {} at {:?}, line {}, column {}: {}>",
            self.rule, self.pointer, self.line, self.column, self.detail
        )
    }
}

#[cfg(test)]
impl std::fmt::Display for ScanProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.rule, self.pointer)
    }
}

impl ScanProblem {
    /// `path` leads to the place, `offset` is its first byte in `text`.
    pub fn new(rule: Rule, text: &[u8], path: &[Step], offset: usize, detail: String) -> Self {
        let before = &text[..offset.min(text.len())];
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
        Self {
            rule: rule.name(),
            pointer: path.iter().map(|step| step.token(text)).collect(),
            line: 1 + memchr::memchr_iter(b'\n', before).count(),
            column: 1 + before.len() - line_start,
            detail,
        }
    }
}

/// One step down into a text. Names are looked up only when a problem is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The array element of this index.
    Element(usize),
    /// The member whose name's opening quote is at this offset.
    Member(usize),
}

impl Step {
    /// The step as a reference token of RFC 6901 §3, its slash before it.
    fn token(self, text: &[u8]) -> String {
        match self {
            Self::Element(index) => format!("/{index}"),
            Self::Member(quote) => {
                let mut name = Jiter::new(&text[quote..]);
                let decoded = shown(name.next_str().unwrap_or_default());
                format!("/{}", decoded.replace('~', "~0").replace('/', "~1"))
            }
        }
    }
}

/// A name as far as a report repeats it.
fn shown(name: &str) -> String {
    if name.len() <= SHOWN_NAME_BYTES {
        return name.to_owned();
    }
    let fits = |(at, letter): &(usize, char)| at + letter.len_utf8() <= SHOWN_NAME_BYTES;
    let letters = name.char_indices().take_while(fits);
    letters.map(|(_, letter)| letter).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::{Rule, ScanProblem, Step, shown};

    fn at(text: &str, path: &[Step], offset: usize) -> ScanProblem {
        ScanProblem::new(Rule::Nul, text.as_bytes(), path, offset, String::new())
    }

    #[test]
    fn pointers_escape_and_decode() {
        let text = r#"{"a/b~c":[{"\u00e9":0}]}"#;
        let path = [Step::Member(1), Step::Element(12), Step::Member(11)];
        assert_eq!(at(text, &path, 0).pointer, "/a~1b~0c/12/é");
        assert_eq!(at(text, &[], 0).pointer, "");
    }

    #[test]
    fn lines_and_columns_count_bytes_from_one() {
        for (text, offset, line, column) in [
            ("", 0, 1, 1),
            ("ab", 1, 1, 2),
            ("a\nb", 1, 1, 2),
            ("a\nb", 2, 2, 1),
            ("é\n\néx", 6, 3, 3),
            ("a", 9, 1, 2),
        ] {
            let problem = at(text, &[], offset);
            assert_eq!(
                (problem.line, problem.column),
                (line, column),
                "{text:?} {offset}"
            );
        }
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        assert_eq!(shown(&"x".repeat(256)), "x".repeat(256));
        assert_eq!(
            shown(&format!("{}é", "x".repeat(255))),
            format!("{}…", "x".repeat(255))
        );
    }
}
