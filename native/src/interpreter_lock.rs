//! When work is worth giving up Python's interpreter lock for.

use pyo3::Python;

/// Below this, giving the lock up and getting it back costs more than others gain by it.
const UNLOCK_BYTES: usize = 64 << 10;

/// Runs `work` on `bytes` bytes of input, without the lock if that will take long.
pub fn unlocked<T: Send>(py: Python<'_>, bytes: usize, work: impl FnOnce() -> T + Send) -> T {
    if bytes > UNLOCK_BYTES {
        py.detach(work)
    } else {
        work()
    }
}

#[cfg(test)]
mod tests {
    use super::{UNLOCK_BYTES, unlocked};
    use pyo3::Python;
    use std::thread;

    #[test]
    fn long_work_lets_other_threads_run_python() {
        Python::initialize();
        Python::attach(|py| {
            let other = || thread::spawn(|| Python::attach(|_| 7)).join().unwrap();
            // Would never return if the lock were held.
            assert_eq!(unlocked(py, UNLOCK_BYTES + 1, other), 7);
            assert_eq!(unlocked(py, UNLOCK_BYTES, || 8), 8);
        });
    }
}
