//! ULIDs: 48 bits of Unix milliseconds and 80 random bits, written as 26 Crockford characters.

use std::sync::{Mutex, PoisonError};

use pyo3::exceptions::{PyOSError, PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use ulid::{ULID_LEN, Ulid};

use crate::shard_hash::{bucket, id_bytes};

const MAX_UNIX_MS: u64 = (1 << Ulid::TIME_BITS) - 1;
/// How far an id may jump past its predecessor within one millisecond. Wide enough that two forks
/// with the same predecessor do not meet, small enough for 2^32 ids in one millisecond.
const JUMP_BITS: u32 = 48;

/// The id this process minted last.
static LAST: Mutex<Ulid> = Mutex::new(Ulid::nil());

/// The first id after `last` that is of `unix_ms` or later and falls in `wanted`.
///
/// `random` are 128 fresh bits. Consecutive ids hash to unrelated buckets, so counting upwards
/// from a random start takes `modulus` steps on average. None when the id space is exhausted.
fn next_id(last: Ulid, unix_ms: u64, random: u128, wanted: u64, modulus: u64) -> Option<Ulid> {
    let start = if unix_ms > last.timestamp_ms() {
        Ulid::from_parts(unix_ms, random)
    } else {
        let jump = random & ((1 << JUMP_BITS) - 1);
        Ulid(last.0.checked_add(1)?.checked_add(jump)?)
    };
    (start.0..=u128::MAX)
        .find(|id| bucket(id.to_be_bytes(), modulus) == wanted)
        .map(Ulid)
}

/// A new id in the given bucket; see the stub.
#[pyfunction]
pub fn mint_in_bucket(
    py: Python<'_>,
    unix_ms: u64,
    bucket: u64,
    modulus: u64,
) -> PyResult<Bound<'_, PyBytes>> {
    if unix_ms > MAX_UNIX_MS {
        return Err(PyValueError::new_err("unix_ms does not fit in 48 bits"));
    }
    if bucket >= modulus {
        return Err(PyValueError::new_err("bucket must be below modulus"));
    }
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| PyOSError::new_err(error.to_string()))?;
    // A panic cannot leave half an id behind, so a poisoned lock is still good.
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let id = next_id(*last, unix_ms, u128::from_ne_bytes(random), bucket, modulus)
        .ok_or_else(|| PyOverflowError::new_err("no id is left after the last one"))?;
    *last = id;
    Ok(PyBytes::new(py, &id.to_bytes()))
}

fn parse(text: &str) -> Option<Ulid> {
    // 26 characters hold 130 bits; the crate drops the upper two without a word.
    if text.as_bytes().first()? > &b'7' {
        return None;
    }
    Ulid::from_string(text).ok()
}

/// The bytes of a written id, or None; see the stub.
#[pyfunction]
pub fn parse_id<'py>(py: Python<'py>, text: &str) -> Option<Bound<'py, PyBytes>> {
    parse(text).map(|id| PyBytes::new(py, &id.to_bytes()))
}

/// The canonical text of an id; see the stub.
#[pyfunction]
pub fn format_id(item_id: &[u8]) -> PyResult<String> {
    let id = Ulid::from_bytes(id_bytes(item_id)?);
    Ok(id.array_to_str(&mut [0; ULID_LEN]).to_owned())
}

#[cfg(test)]
mod tests {
    use super::{JUMP_BITS, bucket, format_id, next_id, parse};
    use ulid::Ulid;

    #[test]
    fn text_and_bytes_are_the_same_id() {
        for text in [
            "00000000000000000000000000",
            "7ZZZZZZZZZZZZZZZZZZZZZZZZZ",
            "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        ] {
            let id = parse(text).expect(text);
            assert_eq!(format_id(&id.to_bytes()).unwrap(), text);
            assert_eq!(parse(&text.to_ascii_lowercase()), Some(id));
        }
    }

    #[test]
    fn anything_else_is_no_id() {
        for text in [
            "",
            "8ZZZZZZZZZZZZZZZZZZZZZZZZZ",
            "80000000000000000000000000",
            "ZZZZZZZZZZZZZZZZZZZZZZZZZZ",
            "0000000000000000000000000",
            "000000000000000000000000000",
            "0000000000000000000000000I",
            "0000000000000000000000000l",
            "0000000000000000000000000O",
            "0000000000000000000000000u",
            "0000000000000000000000000-",
            "0000000000000000000000000\0",
            "00000000000000000000000é",
            " 1ARZ3NDEKTSV4RRFFQ69G5FAV",
            "01234567",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn ids_grow_though_the_clock_stands_or_steps_back() {
        let mut last = Ulid::nil();
        for (unix_ms, wanted) in [(5, 3), (5, 0), (5, 3), (4, 7), (0, 1), (6, 2)] {
            let id = next_id(last, unix_ms, 0, wanted, 8).unwrap();
            assert!(id > last);
            assert_eq!(bucket(id.to_bytes(), 8), wanted);
            last = id;
        }
        assert_eq!(last.timestamp_ms(), 6);
    }

    #[test]
    fn a_full_millisecond_flows_into_the_next() {
        let last = Ulid::from_parts(9, u128::MAX);
        let id = next_id(last, 9, 0, 0, 1).unwrap();
        assert_eq!((id.timestamp_ms(), id.random()), (10, 0));
    }

    #[test]
    fn forks_of_one_process_part_ways() {
        let last = Ulid::from_parts(9, 1);
        let far = next_id(last, 9, (1 << JUMP_BITS) - 1, 0, 1).unwrap();
        assert_eq!(far.random() - last.random(), 1 << JUMP_BITS);
    }

    #[test]
    fn the_last_id_has_no_successor() {
        assert_eq!(next_id(Ulid::max(), 0, 0, 0, 1), None);
    }
}
