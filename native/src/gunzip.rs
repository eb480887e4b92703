//! Decompressing a request body sent with `Content-Encoding: gzip` (RFC 1952), under a cap.

use std::io::Read;

use flate2::bufread::MultiGzDecoder;
use pyo3::create_exception;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::interpreter_lock::unlocked;

create_exception!(service.native, GunzipTooLarge, PyValueError);
create_exception!(service.native, GunzipMalformed, PyValueError);

/// Deflate makes at most so many bytes of one.
const MAX_EXPANSION: usize = 1032;

#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    TooLarge,
    Malformed(String),
}

/// All members one after the other. Stops reading as soon as the cap is passed.
fn decompress(data: &[u8], max_bytes: usize) -> Result<Vec<u8>, Refusal> {
    let mut decompressed = Vec::new();
    let limit = u64::try_from(max_bytes).unwrap_or(u64::MAX);
    MultiGzDecoder::new(data)
        .take(limit.saturating_add(1))
        .read_to_end(&mut decompressed)
        .map_err(|error| Refusal::Malformed(error.to_string()))?;
    if decompressed.len() > max_bytes {
        return Err(Refusal::TooLarge);
    }
    Ok(decompressed)
}

/// Decompresses a gzip body; see the stub.
#[pyfunction]
pub fn gunzip<'py>(
    py: Python<'py>,
    data: &[u8],
    max_bytes: usize,
) -> PyResult<Bound<'py, PyBytes>> {
    // A short body may become a long one: both lengths tell how long this can take.
    let decompressed_bytes = max_bytes.min(data.len().saturating_mul(MAX_EXPANSION));
    let work_bytes = data.len().max(decompressed_bytes);
    match unlocked(py, work_bytes, || decompress(data, max_bytes)) {
        Ok(decompressed) => Ok(PyBytes::new(py, &decompressed)),
        Err(Refusal::TooLarge) => {
            let message = format!("the body decompresses to more than {max_bytes} bytes");
            Err(GunzipTooLarge::new_err(message))
        }
        Err(Refusal::Malformed(reason)) => Err(GunzipMalformed::new_err(reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_EXPANSION, Refusal, decompress};
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn compress(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn is_malformed(data: &[u8]) -> bool {
        matches!(decompress(data, 1 << 20), Err(Refusal::Malformed(_)))
    }

    #[test]
    fn members_are_joined() {
        let two = [compress(b"ab"), compress(b""), compress(b"c")].concat();
        assert_eq!(decompress(&two, 3), Ok(b"abc".to_vec()));
        assert_eq!(decompress(&two, 2), Err(Refusal::TooLarge));
        assert_eq!(decompress(&compress(b""), 0), Ok(vec![]));
    }

    #[test]
    fn no_input_expands_further_than_said() {
        for zeros in [100, 10_000, 10 << 20] {
            assert!(compress(&vec![0; zeros]).len() * MAX_EXPANSION >= zeros);
        }
    }

    #[test]
    fn a_bomb_is_noticed_at_the_cap() {
        let bomb = compress(&vec![0; 50 << 20]);
        assert_eq!(decompress(&bomb, 1 << 20), Err(Refusal::TooLarge));
        // Not even its end is looked at.
        assert_eq!(
            decompress(&bomb[..bomb.len() / 2], 1 << 20),
            Err(Refusal::TooLarge)
        );
    }

    #[test]
    fn every_cut_and_all_rubbish_is_malformed() {
        let whole = compress(b"some text, some text");
        for end in 0..whole.len() {
            assert!(is_malformed(&whole[..end]), "cut at {end}");
        }
        for tail in [
            &b"x"[..],
            b"\0",
            b"\x1f\x8b",
            &[0; 100],
            b"\x1f\x8b\x08\0rubbish",
        ] {
            assert!(is_malformed(&[&whole, tail].concat()), "{tail:?}");
        }
        for data in [&b"{}"[..], b"\x78\x9c\x03\0\0\0\0\x01", b"\x1f\x8b\x07"] {
            assert!(is_malformed(data), "{data:?}");
        }
    }

    #[test]
    fn checksum_and_length_are_compared() {
        let whole = compress(b"some text");
        for at in whole.len() - 8..whole.len() {
            let mut broken = whole.clone();
            broken[at] ^= 1;
            assert!(is_malformed(&broken), "byte {at}");
        }
    }
}
