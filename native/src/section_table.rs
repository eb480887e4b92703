//! Header sections that many requests share, looked up by their lines.

use std::collections::HashMap;

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple};
use xxhash_rust::xxh3::Xxh3Builder;

use crate::hit_records::Section;

const TAGS: &str = "if-none-match";

/// A section, and the value of If-None-Match that came with it.
pub type SectionAndTags<'py> = (Bound<'py, Section>, Option<Bound<'py, PyString>>);

/// See the stub.
#[pyclass(subclass)]
pub struct SectionTable {
    held: HashMap<Box<str>, Py<Section>, Xxh3Builder>,
    /// The key of the look-up under way, kept because allocating it costs more than writing it.
    key: String,
}

#[pymethods]
impl SectionTable {
    #[new]
    pub fn new() -> PyResult<Self> {
        let mut seed = [0; 8];
        // Secret, so that nobody can choose lines that collide.
        getrandom::fill(&mut seed).map_err(|error| PyOSError::new_err(error.to_string()))?;
        let hasher = Xxh3Builder::new().with_seed(u64::from_ne_bytes(seed));
        Ok(Self {
            held: HashMap::with_hasher(hasher),
            key: String::new(),
        })
    }

    fn find(&self, py: Python<'_>, lines: &Bound<'_, PyList>) -> PyResult<Option<Py<Section>>> {
        let mut key = String::new();
        for line in lines {
            write_line(&mut key, &Line::of(&line)?)?;
        }
        Ok(self.held.get(key.as_str()).map(|found| found.clone_ref(py)))
    }

    fn keep(&mut self, lines: &Bound<'_, PyList>, section: Py<Section>) -> PyResult<()> {
        let mut key = String::new();
        for line in lines {
            write_line(&mut key, &Line::of(&line)?)?;
        }
        self.held.insert(key.into_boxed_str(), section);
        Ok(())
    }

    fn clear(&mut self) {
        self.held.clear();
    }

    fn __len__(&self) -> usize {
        self.held.len()
    }
}

impl SectionTable {
    /// The section of all lines but one of If-None-Match, and the value of that.
    pub fn find_without_tags<'py>(
        &mut self,
        py: Python<'py>,
        lines: &Bound<'py, PyList>,
    ) -> PyResult<Option<SectionAndTags<'py>>> {
        self.key.clear();
        let mut tags = None;
        for line in lines {
            let line = Line::of(&line)?;
            if tags.is_none() && line.name.to_str()? == TAGS {
                tags = Some(line.value);
            } else {
                write_line(&mut self.key, &line)?;
            }
        }
        let found = self.held.get(self.key.as_str());
        Ok(found.map(|section| (section.bind(py).clone(), tags)))
    }
}

struct Line<'py> {
    name: Bound<'py, PyString>,
    value: Bound<'py, PyString>,
}

impl<'py> Line<'py> {
    fn of(line: &Bound<'py, PyAny>) -> PyResult<Self> {
        let line = line.cast::<PyTuple>()?;
        Ok(Self {
            name: line.get_item(0)?.cast_into()?,
            value: line.get_item(1)?.cast_into()?,
        })
    }
}

/// With a NUL behind name and value, which neither can contain (RFC 9110, section 5.5).
fn write_line(key: &mut String, line: &Line<'_>) -> PyResult<()> {
    for part in [&line.name, &line.value] {
        key.push_str(part.to_str()?);
        key.push('\0');
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::SectionTable;
    use crate::hit_records::Section;
    use pyo3::Python;
    use pyo3::prelude::*;
    use pyo3::types::{PyList, PyString};

    fn lines<'py>(py: Python<'py>, lines: &[(&str, &str)]) -> Bound<'py, PyList> {
        PyList::new(py, lines).unwrap()
    }

    #[test]
    fn a_section_is_found_by_exactly_its_lines() {
        Python::initialize();
        Python::attach(|py| {
            let mut table = SectionTable::new().unwrap();
            let token = PyString::new(py, "").unbind();
            let section = Py::new(py, Section::new(py.None(), token)).unwrap();
            table
                .keep(&lines(py, &[("host", "a"), ("x", "")]), section)
                .unwrap();
            let mut found = |asked: &[(&str, &str)]| {
                let found = table.find_without_tags(py, &lines(py, asked)).unwrap();
                found.map(|(_, tags)| tags.map(|tags| tags.to_string()))
            };
            assert_eq!(found(&[("host", "a"), ("x", "")]), Some(None));
            let tags = ("if-none-match", "*");
            assert_eq!(
                found(&[("host", "a"), tags, ("x", "")]),
                Some(Some("*".into()))
            );
            assert_eq!(found(&[("host", "a"), tags, tags, ("x", "")]), None);
            assert_eq!(found(&[("host", "a")]), None);
            assert_eq!(found(&[("x", ""), ("host", "a")]), None);
            assert_eq!(found(&[("host", "ax"), ("", "")]), None);
            table.clear();
            assert_eq!(table.__len__(), 0);
        });
    }
}
