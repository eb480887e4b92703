//! An envelope with one array of many values: where each of them is, without copying any.

use std::ops::Range;

use jiter::{JiterResult, Peek};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::interpreter_lock::unlocked;
use crate::json_nesting::Container;
use crate::json_problem::{Rule, ScanProblem};
use crate::json_scan::{Members, read_members, scan};
use crate::json_walk::Walk;

type Elements = Vec<Range<usize>>;

/// The members but the array, and the array's elements if it is there and is one.
fn elements(
    text: &[u8],
    names: &[String],
    array: &str,
    max_elements: usize,
    max_depth: usize,
) -> Result<(Members, Option<Elements>), Vec<ScanProblem>> {
    let (mut members, mut found) = (Members::new(), None);
    let problems = scan(text, max_depth, |walk| {
        if walk.tokens.peek()? != Peek::Object {
            let detail = "expected an object".to_owned();
            walk.report(Rule::NotAnObject, walk.offset(), detail);
            return walk.value();
        }
        read_members(walk, names, &mut members, |walk, name| {
            let is_array = walk.tokens.peek()? == Peek::Array;
            if is_array && name.is_some_and(|n| names[n] == array) {
                read_elements(walk, max_elements, found.insert(Elements::new()))
            } else {
                walk.value()
            }
        })
    });
    if problems.is_empty() {
        members.retain(|(n, _)| names[*n] != array);
        Ok((members, found))
    } else {
        Err(problems)
    }
}

fn read_elements(walk: &mut Walk, most: usize, found: &mut Elements) -> JiterResult<()> {
    walk.enter(Container::Array);
    let mut first = true;
    while walk.element(first)? {
        first = false;
        walk.tokens.peek()?;
        let start = walk.offset();
        walk.value()?;
        if found.len() <= most {
            found.push(start..walk.offset());
        }
    }
    walk.nesting.leave();
    Ok(())
}

/// Checks an object and finds the elements of an array in it; see the stub.
#[pyfunction]
#[pyo3(signature = (body, members, array, max_elements, max_depth = 64))]
#[allow(
    clippy::needless_pass_by_value,
    reason = "a list of str can only be owned"
)]
pub fn scan_elements<'py>(
    py: Python<'py>,
    body: &[u8],
    members: Vec<String>,
    array: &str,
    max_elements: usize,
    max_depth: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let work = || elements(body, &members, array, max_elements, max_depth);
    match unlocked(py, body.len(), work) {
        Err(problems) => Ok(problems.into_pyobject(py)?.into_any()),
        Ok((found, places)) => {
            let values = PyDict::new(py);
            for (n, place) in found {
                values.set_item(&members[n], PyBytes::new(py, &body[place]))?;
            }
            let places: Option<Vec<(usize, usize)>> =
                places.map(|all| all.into_iter().map(|at| (at.start, at.end)).collect());
            Ok((values, places).into_pyobject(py)?.into_any())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::elements;

    /// The elements' raw texts, or the rules that are broken.
    fn found(text: &str) -> Result<Option<Vec<&str>>, Vec<String>> {
        let names = ["all".to_owned(), "one".to_owned()];
        match elements(text.as_bytes(), &names, "all", 2, 3) {
            Ok((_, places)) => Ok(places.map(|all| {
                let texts = all.into_iter().map(|at| &text[at]);
                texts.collect()
            })),
            Err(problems) => Err(problems.iter().map(ToString::to_string).collect()),
        }
    }

    #[test]
    fn elements_are_where_they_were_written() {
        for (text, expected) in [
            (r#"{"all":[]}"#, Some(vec![])),
            (
                r#" {"one":[7],"all" : [ 1.10 , {"a":[]}] } "#,
                Some(vec!["1.10", r#"{"a":[]}"#]),
            ),
            (r#"{"\u0061ll":["é"]}"#, Some(vec![r#""é""#])),
            (r#"{"all":[1,2,3,4]}"#, Some(vec!["1", "2", "3"])),
            (r#"{"all":{}}"#, None),
            ("{}", None),
        ] {
            assert_eq!(found(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn everything_is_checked_in_its_place() {
        for (text, rules) in [
            (r#"{"all":[1,2,3,"\u0000"]}"#, &["nul /all/3"][..]),
            (r#"{"all":[[[0]]]}"#, &[]),
            (r#"{"all":[[[[0]]]]}"#, &["too-deep /all/0/0/0"]),
            (r#"{"all":[],"one":1e1000}"#, &["number-too-long /one"]),
            (r#"{"all":[],"all":[]}"#, &["duplicate-member /all"]),
            (r#"{"all":[],"x":1}"#, &["unknown-member /x"]),
            (r#"{"all":[1,]}"#, &["syntax "]),
            (r#"{"all":[1"#, &["syntax "]),
            ("[]", &["not-an-object "]),
        ] {
            let broken = found(text).err().unwrap_or_default();
            assert_eq!(broken, rules, "{text}");
        }
    }
}
