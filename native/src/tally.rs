//! A histogram that one thread counts into: what a request pays for being timed.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// How many values fell into which bucket, and their sum; see the stub.
#[pyclass(subclass)]
pub struct Tally {
    bounds: Vec<f64>,
    #[pyo3(get)]
    pub counts: Vec<u64>,
    #[pyo3(get)]
    total: f64,
}

#[pymethods]
impl Tally {
    #[new]
    pub fn new(bounds: Vec<f64>) -> PyResult<Self> {
        if !bounds.is_sorted_by(|a, b| a < b) {
            return Err(PyValueError::new_err("the bounds do not ascend"));
        }
        Ok(Self {
            counts: vec![0; bounds.len() + 1],
            bounds,
            total: 0.0,
        })
    }

    pub fn observe(&mut self, value: f64) {
        let bucket = self.bucket(value);
        self.counts[bucket] += 1;
        self.total += value;
    }

    fn bucket(&self, value: f64) -> usize {
        self.bounds.partition_point(|bound| *bound < value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_belongs_to_the_first_bound_that_is_not_below_it() {
        let mut tally = Tally::new(vec![1.0, 2.0]).unwrap();
        for value in [0.5, 1.0, 1.5, 2.0, 2.5, f64::INFINITY] {
            tally.observe(value);
        }
        assert_eq!(tally.counts, [2, 2, 2]);
        assert!(tally.total.is_infinite());
    }

    #[test]
    fn bounds_ascend() {
        assert!(Tally::new(vec![1.0, 1.0]).is_err());
        assert!(Tally::new(vec![2.0, 1.0]).is_err());
        assert!(Tally::new(vec![1.0, f64::NAN]).is_err());
        assert_eq!(Tally::new(vec![]).unwrap().counts, [0]);
    }
}
