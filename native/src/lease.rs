//! The tokens of a rate limit that a worker may spend without asking anybody.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// See the stub.
#[pyclass(subclass, get_all, set_all)]
pub struct Lease {
    pub rate: Py<PyAny>,
    pub left: i64,
    pub used: i64,
    pub passed: i64,
    pub asked_at: f64,
    pub good_until: f64,
    pub renew_below: i64,
    pub renew_at: f64,
    pub low_below: f64,
}

#[pymethods]
impl Lease {
    #[new]
    #[pyo3(signature = (*_subclass, **_named))]
    fn new(
        py: Python<'_>,
        _subclass: &Bound<'_, PyTuple>,
        _named: Option<&Bound<'_, PyDict>>,
    ) -> Self {
        Self {
            rate: py.None(),
            left: 0,
            used: 0,
            passed: 0,
            asked_at: 0.0,
            good_until: 0.0,
            renew_below: -1,
            renew_at: f64::INFINITY,
            low_below: f64::INFINITY,
        }
    }
}

impl Lease {
    /// Spend a token, unless there is none or something else is to be done: a renewal, or fields
    /// that tell the caller of the limit.
    pub fn spend(&mut self, now: f64) -> bool {
        let left = self.left - 1;
        // Exact, because capacities are far below 2^52.
        #[allow(clippy::cast_precision_loss)]
        let is_low = (left as f64) < self.low_below;
        let is_due = left <= self.renew_below || now >= self.renew_at;
        if left < 0 || is_low || is_due || now >= self.good_until {
            return false;
        }
        self.asked_at = now;
        self.left = left;
        self.used += 1;
        self.passed += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::Lease;
    use pyo3::Python;

    fn lease(py: Python<'_>) -> Lease {
        Lease {
            rate: py.None(),
            left: 3,
            used: 0,
            passed: 0,
            asked_at: 0.0,
            good_until: 10.0,
            renew_below: -1,
            renew_at: f64::INFINITY,
            low_below: 0.0,
        }
    }

    #[test]
    fn tokens_are_spent_until_there_is_none() {
        Python::initialize();
        Python::attach(|py| {
            let mut lease = lease(py);
            assert_eq!(
                [1.0, 2.0, 3.0, 4.0].map(|now| lease.spend(now)),
                [true, true, true, false]
            );
            assert_eq!((lease.left, lease.used, lease.passed), (0, 3, 3));
            assert!((lease.asked_at - 3.0).abs() < f64::EPSILON);
        });
    }

    #[test]
    fn nothing_is_spent_where_more_is_to_be_done() {
        Python::initialize();
        Python::attach(|py| {
            let changes: [fn(&mut Lease); 4] = [
                |lease| lease.good_until = 5.0,
                |lease| lease.renew_at = 5.0,
                |lease| lease.renew_below = 2,
                |lease| lease.low_below = 2.5,
            ];
            for change in changes {
                let mut lease = lease(py);
                change(&mut lease);
                assert!(!lease.spend(5.0));
                assert_eq!((lease.left, lease.used, lease.passed), (3, 0, 0));
            }
        });
    }
}
