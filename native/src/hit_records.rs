//! What a plain hit reads and counts, in fields that native code reaches without Python's look-ups.
//! The rules are those of the Python classes that build on these; see the stubs.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFrozenSet, PyString, PyTuple};

use crate::tally::Tally;

/// A number that only grows.
#[pyclass(subclass, get_all, set_all)]
#[derive(Default)]
pub struct Count {
    pub value: f64,
}

#[pymethods]
impl Count {
    #[new]
    #[pyo3(signature = (*_subclass))]
    fn new(_subclass: &Bound<'_, PyTuple>) -> Self {
        Self::default()
    }
}

/// How many answers get no line in the access log, and from when on an answer is slow.
#[pyclass(subclass, get_all, set_all)]
#[derive(Default)]
pub struct Skips {
    pub left: i64,
    pub slow_s: f64,
}

#[pymethods]
impl Skips {
    #[new]
    #[pyo3(signature = (*_subclass, **_named))]
    fn new(_subclass: &Bound<'_, PyTuple>, _named: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            left: 0,
            slow_s: 0.0,
        }
    }
}

impl Skips {
    /// Count an answer that gets no line.
    pub fn skips(&mut self, took_s: f64) -> bool {
        let skips = self.left > 0 && took_s < self.slow_s;
        self.left -= i64::from(skips);
        skips
    }
}

/// A verified token.
#[pyclass(frozen)]
pub struct Verified {
    #[pyo3(get)]
    pub caller: Py<PyAny>,
    #[pyo3(get)]
    pub good_until_s: f64,
    #[pyo3(get)]
    weight_bytes: u64,
    pub subject: Py<PyString>,
    pub scopes: Py<PyFrozenSet>,
    pub rate: Py<PyAny>,
    pub limit_key: Py<PyString>,
}

#[pymethods]
impl Verified {
    #[new]
    fn new(caller: &Bound<'_, PyAny>, good_until_s: f64, weight_bytes: u64) -> PyResult<Self> {
        let py = caller.py();
        Ok(Self {
            caller: caller.clone().unbind(),
            good_until_s,
            weight_bytes,
            subject: caller.getattr(intern!(py, "subject"))?.extract()?,
            scopes: caller.getattr(intern!(py, "scopes"))?.extract()?,
            rate: caller.getattr(intern!(py, "rate"))?.unbind(),
            limit_key: caller.getattr(intern!(py, "limit_key"))?.extract()?,
        })
    }
}

/// A header section.
#[pyclass(get_all, set_all)]
pub struct Section {
    fields: Py<PyAny>,
    pub token: Py<PyString>,
    pub parsed: Option<Py<PyTuple>>,
}

#[pymethods]
impl Section {
    #[new]
    pub fn new(fields: Py<PyAny>, token: Py<PyString>) -> Self {
        Self {
            fields,
            token,
            parsed: None,
        }
    }
}

/// A living item in this worker.
#[pyclass(frozen)]
pub struct Stored {
    #[pyo3(get)]
    entry: Py<PyAny>,
    #[pyo3(get)]
    source: Py<PyString>,
    #[pyo3(get)]
    pub representations: Py<PyDict>,
    pub owner_id: Py<PyString>,
    pub stamp: (u64, u64),
    pub collection: i64,
}

#[pymethods]
impl Stored {
    #[new]
    #[pyo3(signature = (entry, source = ""))]
    fn new(entry: &Bound<'_, PyAny>, source: &str) -> PyResult<Self> {
        let py = entry.py();
        Ok(Self {
            source: PyString::intern(py, source).unbind(),
            representations: PyDict::new(py).unbind(),
            owner_id: entry.getattr(intern!(py, "owner_id"))?.extract()?,
            stamp: (
                entry.getattr(intern!(py, "epoch"))?.extract()?,
                entry.getattr(intern!(py, "version"))?.extract()?,
            ),
            collection: entry.getattr(intern!(py, "collection"))?.extract()?,
            entry: entry.clone().unbind(),
        })
    }
}

impl Stored {
    /// What was prepared for a section that was parsed so.
    pub fn prepared<'py>(
        &self,
        parsed: &Bound<'py, PyTuple>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let key = (parsed.get_item(0)?, parsed.get_item(1)?);
        self.representations.bind(parsed.py()).get_item(key)
    }

    /// Whether the caller owns it, who is never answered from the near cache.
    pub fn is_of(&self, py: Python<'_>, verified: &Verified) -> PyResult<bool> {
        Ok(self.owner_id.bind(py).to_str()? == verified.subject.bind(py).to_str()?)
    }
}

/// A collection whose items the hot path reads.
#[pyclass(subclass, get_all, set_all)]
pub struct HotCollection {
    pub number: i64,
    pub is_plain: bool,
    pub scopes: Py<PyTuple>,
    pub answers: Py<HotAnswers>,
}

#[pymethods]
impl HotCollection {
    #[new]
    #[pyo3(signature = (number, is_plain, scopes, answers))]
    fn new(number: i64, is_plain: bool, scopes: Py<PyTuple>, answers: Py<HotAnswers>) -> Self {
        Self {
            number,
            is_plain,
            scopes,
            answers,
        }
    }
}

impl HotCollection {
    /// Whether the token has one of the words that allow reading.
    pub fn allows(&self, py: Python<'_>, verified: &Verified) -> PyResult<bool> {
        let has = verified.scopes.bind(py);
        for word in self.scopes.bind(py) {
            if has.as_any().contains(word)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the item can be shown to everybody who may read here.
    pub fn may_show(&self, stored: &Stored) -> bool {
        self.is_plain && stored.collection == self.number
    }
}

/// What counts the answers from a near cache: of class 2xx, of 3xx, their bytes.
#[pyclass(subclass, frozen)]
pub struct HotAnswers {
    whole: Py<Tally>,
    unchanged: Py<Tally>,
    sent_bytes: Py<Count>,
}

#[pymethods]
impl HotAnswers {
    #[new]
    fn new(whole: Py<Tally>, unchanged: Py<Tally>, sent_bytes: Py<Count>) -> Self {
        Self {
            whole,
            unchanged,
            sent_bytes,
        }
    }
}

impl HotAnswers {
    /// An answer of class 2xx or 3xx was sent.
    pub fn count(&self, py: Python<'_>, status: u16, bytes: usize, took_s: f64) {
        let times = if status < 300 {
            &self.whole
        } else {
            &self.unchanged
        };
        times.borrow_mut(py).observe(took_s);
        #[allow(clippy::cast_precision_loss)]
        let bytes = bytes as f64;
        self.sent_bytes.borrow_mut(py).value += bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::{Count, HotAnswers, HotCollection, Stored};
    use crate::tally::Tally;
    use pyo3::Python;
    use pyo3::prelude::*;
    use pyo3::types::{PyDict, PyString, PyTuple};

    fn answers(py: Python<'_>) -> Py<HotAnswers> {
        let times = || Py::new(py, Tally::new(vec![1.0]).unwrap()).unwrap();
        let sent_bytes = Py::new(py, Count::default()).unwrap();
        Py::new(py, HotAnswers::new(times(), times(), sent_bytes)).unwrap()
    }

    fn stored(py: Python<'_>, collection: i64) -> Stored {
        Stored {
            entry: py.None(),
            source: PyString::new(py, "redis").unbind(),
            representations: PyDict::new(py).unbind(),
            owner_id: PyString::new(py, "alice").unbind(),
            stamp: (1, 1),
            collection,
        }
    }

    #[test]
    fn an_item_is_shown_in_its_own_plain_collection() {
        Python::initialize();
        Python::attach(|py| {
            let scopes = PyTuple::empty(py).unbind();
            let mut hot = HotCollection::new(3, true, scopes, answers(py));
            assert!(hot.may_show(&stored(py, 3)));
            assert!(!hot.may_show(&stored(py, 0)));
            hot.is_plain = false;
            assert!(!hot.may_show(&stored(py, 3)));
        });
    }

    #[test]
    fn answers_are_counted_by_their_class() {
        Python::initialize();
        Python::attach(|py| {
            let answers = answers(py);
            let answers = answers.get();
            answers.count(py, 200, 7, 0.5);
            answers.count(py, 304, 0, 2.0);
            assert_eq!(answers.whole.borrow(py).counts, [1, 0]);
            assert_eq!(answers.unchanged.borrow(py).counts, [0, 1]);
            assert!((answers.sent_bytes.borrow(py).value - 7.0).abs() < f64::EPSILON);
        });
    }
}
