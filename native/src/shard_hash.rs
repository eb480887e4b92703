//! Which hash partition PostgreSQL puts a uuid in, and a stable hash of our own.
//!
//! PostgreSQL hashes a uuid key with `hash_uuid_extended`, which is Bob Jenkins' lookup3 over the
//! 16 bytes with a 64-bit seed, and folds the result into the (empty) row hash. This file repeats
//! that for exactly 16 bytes as a little-endian server does it; tests/contract compares it with a
//! real server.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use xxhash_rust::xxh3::Xxh3;

/// `HASH_PARTITION_SEED` in PostgreSQL's partbounds.h.
const PARTITION_SEED: u64 = 0x7A5B_2236_7996_DCFD;
/// The additive constant of `hash_combine64`, all that is left of it when the first hash is 0.
const COMBINE: u64 = 0x49A0_F4DD_15E5_A8E3;
/// lookup3's start value for a key of 16 bytes as PostgreSQL sets it.
const START: u32 = 0x9E37_79B9 + 16 + 3_923_095;

/// The remainder in `[0, modulus)` of the partition that holds `id`.
pub fn bucket(id: [u8; 16], modulus: u64) -> u64 {
    hash_uuid(id).wrapping_add(COMBINE) % modulus
}

fn hash_uuid(id: [u8; 16]) -> u64 {
    let word = |i: usize| u32::from_le_bytes([id[i], id[i + 1], id[i + 2], id[i + 3]]);
    let seed_high = u32::try_from(PARTITION_SEED >> 32).unwrap_or_default();
    let seed_low = u32::try_from(PARTITION_SEED & 0xFFFF_FFFF).unwrap_or_default();
    let seeded = mix([
        START.wrapping_add(seed_high),
        START.wrapping_add(seed_low),
        START,
    ]);
    let mut state = mix([
        seeded[0].wrapping_add(word(0)),
        seeded[1].wrapping_add(word(4)),
        seeded[2].wrapping_add(word(8)),
    ]);
    state[0] = state[0].wrapping_add(word(12));
    let [_, b, c] = finish(state);
    u64::from(b) << 32 | u64::from(c)
}

/// lookup3's reversible mixing of three words.
fn mix(state: [u32; 3]) -> [u32; 3] {
    let [mut a, mut b, mut c] = state;
    a = a.wrapping_sub(c) ^ c.rotate_left(4);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(6);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(8);
    b = b.wrapping_add(a);
    a = a.wrapping_sub(c) ^ c.rotate_left(16);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(19);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(4);
    b = b.wrapping_add(a);
    [a, b, c]
}

/// lookup3's final scrambling, after which `c` and `b` are the hash.
fn finish(state: [u32; 3]) -> [u32; 3] {
    let [mut a, mut b, mut c] = state;
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    c = (c ^ b).wrapping_sub(b.rotate_left(24));
    [a, b, c]
}

/// The partition of a uuid given as bytes; see the stub.
#[pyfunction]
pub fn bucket_of(item_id: &[u8], modulus: u64) -> PyResult<u64> {
    if modulus == 0 {
        return Err(PyValueError::new_err("modulus must be at least 1"));
    }
    Ok(bucket(id_bytes(item_id)?, modulus))
}

/// The array behind an id argument, or the `ValueError` that every function here raises.
pub fn id_bytes(item_id: &[u8]) -> PyResult<[u8; 16]> {
    <[u8; 16]>::try_from(item_id)
        .map_err(|_| PyValueError::new_err(format!("an id has 16 bytes, not {}", item_id.len())))
}

/// XXH3-64 of the parts, each preceded by its length so that no two lists run together.
#[pyfunction]
pub fn hash_bytes(parts: &Bound<'_, PyList>) -> PyResult<u64> {
    let mut hasher = Xxh3::new();
    for part in parts {
        feed(&mut hasher, part.cast::<PyBytes>()?.as_bytes());
    }
    Ok(hasher.digest())
}

fn feed(hasher: &mut Xxh3, part: &[u8]) {
    hasher.update(&(part.len() as u64).to_le_bytes());
    hasher.update(part);
}

#[cfg(test)]
mod tests {
    use super::{Xxh3, bucket, feed, hash_uuid, id_bytes};

    fn digest(parts: &[&[u8]]) -> u64 {
        let mut hasher = Xxh3::new();
        for part in parts {
            feed(&mut hasher, part);
        }
        hasher.digest()
    }

    #[test]
    fn every_bucket_is_below_the_modulus_and_shares_are_even() {
        let mut counts = [0u32; 16];
        for n in 0..160_000u128 {
            counts[usize::try_from(bucket(n.to_be_bytes(), 16)).unwrap()] += 1;
        }
        // Binomial with mean 10,000: five standard deviations are 484.
        assert!(
            counts.iter().all(|n| (9_500..10_500).contains(n)),
            "{counts:?}"
        );
    }

    #[test]
    fn answers_that_a_postgresql_18_server_gave() {
        let counting = std::array::from_fn(|i| u8::try_from(i).unwrap());
        for (id, remainder) in [([0; 16], 933), ([0xFF; 16], 385), (counting, 943)] {
            assert_eq!(bucket(id, 1024), remainder);
        }
    }

    #[test]
    fn one_bucket_takes_everything() {
        assert_eq!(bucket([0xFF; 16], 1), 0);
    }

    #[test]
    fn a_change_in_any_byte_changes_the_hash() {
        let zero = hash_uuid([0; 16]);
        for i in 0..16 {
            let mut id = [0; 16];
            id[i] = 1;
            assert_ne!(hash_uuid(id), zero, "byte {i}");
        }
    }

    #[test]
    fn ids_have_sixteen_bytes() {
        assert!(id_bytes(&[0; 16]).is_ok());
        assert!(id_bytes(&[0; 15]).is_err() && id_bytes(&[0; 17]).is_err());
    }

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
        assert_ne!(digest(&[b"", b"a"]), digest(&[b"a", b""]));
        assert_ne!(digest(&[]), digest(&[b""]));
        assert_eq!(digest(&[b"a", b"b"]), digest(&[b"a", b"b"]));
    }
}
