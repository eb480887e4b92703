//! A histogram that one thread counts into: what a request pays for being timed.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// How many values fell into which bucket, and their sum; see the stub.
#[pyclass(subclass)]
pub struct Tally {
    bounds: Vec<f64>,
    #[pyo3(get)]
    counts: Vec<u64>,
    #[pyo3(get)]
    total: f64,
}

#[pymethods]
impl Tally {
    #[new]
    fn new(bounds: Vec<f64>) -> PyResult<Self> {
        if !bounds.is_sorted_by(|a, b| a < b) {
            return Err(PyValueError::new_err("the bounds do not ascend"));
        }
        Ok(Self {
            counts: vec![0; bounds.len() + 1],
            bounds,
            total: 0.0,
        })
    }

    fn observe(&mut self, value: f64) {
        let bucket = self.bucket(value);
        self.counts[bucket] += 1;
        self.total += value;
    }

    fn bucket(&self, value: f64) -> usize {
        self.bounds.partition_point(|bound| *bound < value)
    }
}
