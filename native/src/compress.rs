//! Content codings of answers (RFC 9110 §8.4.1): gzip, br (RFC 7932) and zstd (RFC 8878).

use std::cell::RefCell;
use std::io;

use brotli::enc::BrotliEncoderParams;
use libdeflater::{CompressionLvl, Compressor as Deflate};
use pyo3::exceptions::{PyMemoryError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use zstd::bulk::Compressor as Zstd;

use crate::interpreter_lock::unlocked;

/// A window of 2^16 bytes or less makes brotli choose a search that is twenty times slower.
const BR_WINDOW_BITS: std::ops::RangeInclusive<u32> = 18..=22;

thread_local! {
    /// A thread's encoders with the level each was made for: setting one up costs about as much
    /// as a small body does.
    static GZIP: RefCell<Option<(i32, Deflate)>> = const { RefCell::new(None) };
    static ZSTD: RefCell<Option<(i32, Zstd<'static>)>> = const { RefCell::new(None) };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Br,
    Gzip,
    Zstd,
}

impl Coding {
    fn named(name: &str) -> Option<Self> {
        match name {
            "br" => Some(Self::Br),
            "gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    fn has_level(self, level: i32) -> bool {
        match self {
            Self::Br => (0..=11).contains(&level),
            Self::Gzip => (1..=12).contains(&level),
            // Above 19 the window may exceed the 8 MiB that RFC 9659 allows on the Web.
            Self::Zstd => (1..=19).contains(&level),
        }
    }

    fn encode(self, data: &[u8], level: i32) -> io::Result<Vec<u8>> {
        match self {
            Self::Br => br(data, level),
            Self::Gzip => GZIP.with_borrow_mut(|slot| gzip(slot, data, level)),
            Self::Zstd => ZSTD.with_borrow_mut(|slot| zstd(slot, data, level)),
        }
    }
}

fn br(mut data: &[u8], level: i32) -> io::Result<Vec<u8>> {
    let bits = (usize::BITS - data.len().leading_zeros())
        .clamp(*BR_WINDOW_BITS.start(), *BR_WINDOW_BITS.end());
    let parameters = BrotliEncoderParams {
        quality: level,
        lgwin: bits.cast_signed(),
        size_hint: data.len(),
        ..BrotliEncoderParams::default()
    };
    let mut encoded = Vec::with_capacity(data.len() / 2);
    brotli::BrotliCompress(&mut data, &mut encoded, &parameters)?;
    Ok(encoded)
}

fn gzip(slot: &mut Option<(i32, Deflate)>, data: &[u8], level: i32) -> io::Result<Vec<u8>> {
    let encoder = match slot {
        Some((made_for, encoder)) if *made_for == level => encoder,
        _ => {
            let checked = CompressionLvl::new(level)
                .map_err(|error| io::Error::other(format!("{error:?}")))?;
            &mut slot.insert((level, Deflate::new(checked))).1
        }
    };
    let mut output = vec![0; encoder.gzip_compress_bound(data.len())];
    let length = encoder
        .gzip_compress(data, &mut output)
        .map_err(|error| io::Error::other(error.to_string()))?;
    output.truncate(length);
    Ok(output)
}

fn zstd(slot: &mut Option<(i32, Zstd<'static>)>, data: &[u8], level: i32) -> io::Result<Vec<u8>> {
    let encoder = match slot {
        Some((made_for, encoder)) if *made_for == level => encoder,
        _ => &mut slot.insert((level, Zstd::new(level)?)).1,
    };
    encoder.compress(data)
}

/// Encodes a body; see the stub.
#[pyfunction]
pub fn compress<'py>(
    py: Python<'py>,
    data: &[u8],
    coding: &str,
    level: i32,
) -> PyResult<Bound<'py, PyBytes>> {
    let Some(known) = Coding::named(coding) else {
        return Err(PyValueError::new_err(format!("no coding named {coding:?}")));
    };
    if !known.has_level(level) {
        let message = format!("{coding} has no level {level}");
        return Err(PyValueError::new_err(message));
    }
    // Bytes in memory encode unless memory for the result is short.
    let encoded = unlocked(py, data.len(), || known.encode(data, level))
        .map_err(|error| PyMemoryError::new_err(error.to_string()))?;
    Ok(PyBytes::new(py, &encoded))
}

#[cfg(test)]
mod tests {
    use super::Coding;
    use std::io::Read;

    fn decode(coding: Coding, encoded: &[u8]) -> Vec<u8> {
        let mut decoded = Vec::new();
        match coding {
            Coding::Br => {
                brotli::BrotliDecompress(&mut &*encoded, &mut decoded).unwrap();
            }
            Coding::Gzip => {
                let mut reader = flate2::bufread::GzDecoder::new(encoded);
                reader.read_to_end(&mut decoded).unwrap();
            }
            Coding::Zstd => decoded = zstd::bulk::decompress(encoded, 1 << 20).unwrap(),
        }
        decoded
    }

    #[test]
    fn every_coding_and_level_round_trips() {
        let text = br#"{"name":"caf\u00e9","size":1.10}"#.repeat(50);
        for (coding, levels) in [
            (Coding::Br, [0, 5, 11]),
            (Coding::Gzip, [1, 6, 12]),
            (Coding::Zstd, [1, 3, 19]),
        ] {
            for level in levels {
                assert!(coding.has_level(level));
                // Twice, so that an encoder is used again and one for another level replaced.
                for data in [&text[..], b"", b"x", &text] {
                    let encoded = coding.encode(data, level).unwrap();
                    assert_eq!(decode(coding, &encoded), data, "{coding:?} {level}");
                }
            }
        }
    }

    #[test]
    fn text_gets_smaller_and_noise_hardly_larger() {
        let text = b"the same again, ".repeat(8192);
        let mut noise = vec![0; 100_000];
        getrandom::fill(&mut noise).unwrap();
        for (coding, level) in [(Coding::Br, 5), (Coding::Gzip, 6), (Coding::Zstd, 3)] {
            assert!(coding.encode(&text, level).unwrap().len() < text.len() / 20);
            assert!(coding.encode(&noise, level).unwrap().len() < noise.len() + 1000);
        }
    }

    #[test]
    fn unknown_names_are_unknown() {
        for name in ["", "BR", "deflate", "identity", "x-gzip"] {
            assert_eq!(Coding::named(name), None, "{name}");
        }
    }
}
