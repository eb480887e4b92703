//! Is this JSON text one that we can store as it is?

use std::ops::Range;
use std::str::from_utf8;

use jiter::{JiterResult, Peek};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::interpreter_lock::unlocked;
use crate::json_problem::{Rule, ScanProblem};
use crate::json_surrogate::mask_lone_surrogates;
use crate::json_walk::Walk;

/// What the stub promises where no other depth is asked for.
const MAX_DEPTH: usize = 64;
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// What an envelope holds: the index of a member's name, and where its value is.
pub type Members = Vec<(usize, Range<usize>)>;

pub fn scan(
    text: &[u8],
    max_depth: usize,
    read: impl FnOnce(&mut Walk) -> JiterResult<()>,
) -> Vec<ScanProblem> {
    if let Some((offset, detail)) = encoding_problem(text) {
        let detail = detail.to_owned();
        return vec![ScanProblem::new(Rule::Syntax, text, &[], offset, detail)];
    }
    let (masked, lone) = mask_lone_surrogates(text);
    let mut walk = Walk::new(&masked, &lone, max_depth);
    let end = read(&mut walk).and_then(|()| walk.tokens.finish());
    walk.into_problems(&end)
}

/// RFC 8259 §8.1: UTF-8 without a byte order mark.
fn encoding_problem(text: &[u8]) -> Option<(usize, &'static str)> {
    if text.starts_with(BYTE_ORDER_MARK) {
        return Some((0, "begins with a byte order mark"));
    }
    let error = from_utf8(text).err()?;
    Some((error.valid_up_to(), "is not UTF-8"))
}

fn read_value(walk: &mut Walk) -> JiterResult<()> {
    walk.value()
}

/// Whether the text is an object without any problem.
pub fn is_clean_object(text: &[u8]) -> bool {
    text.trim_ascii_start().starts_with(b"{") && scan(text, MAX_DEPTH, read_value).is_empty()
}

fn envelope(text: &[u8], names: &[String], max_depth: usize) -> Result<Members, Vec<ScanProblem>> {
    let mut members = Members::new();
    let problems = scan(text, max_depth, |walk| {
        if walk.tokens.peek()? != Peek::Object {
            let detail = "is not an object".to_owned();
            walk.report(Rule::NotAnObject, walk.offset(), detail);
            return walk.value();
        }
        read_members(walk, names, &mut members, |walk, _| walk.value())
    });
    if problems.is_empty() {
        Ok(members)
    } else {
        Err(problems)
    }
}

/// Reads an envelope; `read_value` is told which known member the value is of.
pub fn read_members(
    walk: &mut Walk,
    names: &[String],
    members: &mut Members,
    mut read_value: impl FnMut(&mut Walk, Option<usize>) -> JiterResult<()>,
) -> JiterResult<()> {
    walk.nesting.enter_envelope();
    let mut first = true;
    let known = |name: &str| names.iter().position(|known| known == name);
    while let Some((quote, name)) = walk.name(first, known)? {
        first = false;
        match &name {
            None => {
                let detail = "is not expected here".to_owned();
                walk.report(Rule::UnknownMember, quote, detail);
            }
            Some(n) if members.iter().any(|(seen, _)| seen == n) => {
                let detail = "is given twice".to_owned();
                walk.report(Rule::DuplicateMember, quote, detail);
            }
            Some(_) => {}
        }
        walk.tokens.peek()?;
        let start = walk.offset();
        read_value(walk, name)?;
        members.extend(name.map(|n| (n, start..walk.offset())));
    }
    Ok(())
}

/// Checks an object and cuts out its members; see the stub.
#[pyfunction]
#[pyo3(signature = (body, members, max_depth = 64))]
#[allow(
    clippy::needless_pass_by_value,
    reason = "a list of str can only be owned"
)]
pub fn scan_envelope<'py>(
    py: Python<'py>,
    body: &[u8],
    members: Vec<String>,
    max_depth: usize,
) -> PyResult<Bound<'py, PyAny>> {
    match unlocked(py, body.len(), || envelope(body, &members, max_depth)) {
        Err(problems) => Ok(problems.into_pyobject(py)?.into_any()),
        Ok(found) => {
            let values = PyDict::new(py);
            for (n, place) in found {
                values.set_item(&members[n], PyBytes::new(py, &body[place]))?;
            }
            Ok(values.into_any())
        }
    }
}

/// Checks any one value; see the stub.
#[pyfunction]
#[pyo3(signature = (text, max_depth = 64))]
pub fn scan_value(py: Python<'_>, text: &[u8], max_depth: usize) -> Vec<ScanProblem> {
    unlocked(py, text.len(), || scan(text, max_depth, read_value))
}

#[cfg(test)]
mod tests {
    use super::{envelope, read_value, scan};

    fn rules(text: &[u8]) -> Vec<String> {
        let problems = scan(text, 64, read_value);
        problems.iter().map(ToString::to_string).collect()
    }

    /// The members' raw values, or the rules that are broken.
    fn members(text: &str) -> Result<Vec<(usize, &str)>, Vec<String>> {
        let names = ["data".to_owned(), "id".to_owned()];
        match envelope(text.as_bytes(), &names, 64) {
            Ok(found) => Ok(found
                .into_iter()
                .map(|(n, place)| (n, &text[place]))
                .collect()),
            Err(problems) => Err(problems.iter().map(ToString::to_string).collect()),
        }
    }

    #[test]
    fn only_utf8_without_a_mark_is_read() {
        for text in [
            &b"\xEF\xBB\xBF{}"[..],
            b"\"\xFF\"",
            b"\"\xC3",
            b"\"\xED\xA0\x80\"",
            b"\"\xC0\x80\"",
            b"{\0}\0",
            b"\xFF\xFE{\0}\0",
            b"",
            b" ",
            b"{} {}",
        ] {
            assert_eq!(rules(text), ["syntax "], "{text:?}");
        }
        assert_eq!(rules("\"é\u{10ffff}\"".as_bytes()), [""; 0]);
    }

    #[test]
    fn values_are_cut_out_as_they_were_written() {
        assert_eq!(
            members(r#" {"id" : 1.10e0 , "d\u0061ta":{ "x": [1] } } "#),
            Ok(vec![(1, "1.10e0"), (0, r#"{ "x": [1] }"#)])
        );
        assert_eq!(members("{}"), Ok(vec![]));
    }

    #[test]
    fn the_envelope_has_its_own_rules() {
        for (text, rules) in [
            ("[]", &["not-an-object "][..]),
            ("null", &["not-an-object "]),
            ("nul", &["not-an-object ", "syntax "]),
            (r#"{"data":1,"data":2}"#, &["duplicate-member /data"]),
            (
                r#"{"x":"\u0000","data":[1e1000]}"#,
                &["unknown-member /x", "nul /x", "number-too-long /data/0"],
            ),
            (
                r#"{"\ud800":1,"data":"a"}"#,
                &["lone-surrogate /\u{fffd}", "unknown-member /\u{fffd}"],
            ),
            (r#"{"data":1,}"#, &["syntax "]),
            (r#"{"data"}"#, &["syntax "]),
            (r#"{"data":1"#, &["syntax "]),
        ] {
            let found = members(text).unwrap_err();
            assert_eq!(found, rules, "{text}");
        }
    }

    #[test]
    fn the_envelope_itself_is_no_level_of_depth() {
        let nested = |n: usize| format!(r#"{{"data":{}{}}}"#, "[".repeat(n), "]".repeat(n));
        assert!(members(&nested(64)).is_ok());
        let pointer = "/data".to_owned() + &"/0".repeat(64);
        assert_eq!(
            members(&nested(65)),
            Err(vec![format!("too-deep {pointer}")])
        );
    }
}
