//! The parts of Hotshelf that Python would be too slow or too loose for: `service.native`.

mod compress;
mod copy_rows;
mod etag;
mod gunzip;
mod hit_records;
mod ids;
mod interpreter_lock;
mod json_elements;
mod json_nesting;
mod json_number;
mod json_problem;
mod json_scan;
mod json_surrogate;
mod json_walk;
mod lease;
mod plain_hits;
mod section_table;
mod shard_hash;
mod tally;

#[pyo3::pymodule]
mod native {
    #[pymodule_export]
    use crate::compress::compress;
    #[pymodule_export]
    use crate::copy_rows::copy_rows;
    #[pymodule_export]
    use crate::etag::etag_hash;
    #[pymodule_export]
    use crate::gunzip::{GunzipMalformed, GunzipTooLarge, gunzip};
    #[pymodule_export]
    use crate::hit_records::{Count, HotAnswers, HotCollection, Section, Skips, Stored, Verified};
    #[pymodule_export]
    use crate::ids::{format_id, mint_in_bucket, parse_id};
    #[pymodule_export]
    use crate::json_elements::scan_elements;
    #[pymodule_export]
    use crate::json_problem::ScanProblem;
    #[pymodule_export]
    use crate::json_scan::{scan_envelope, scan_value};
    #[pymodule_export]
    use crate::lease::Lease;
    #[pymodule_export]
    use crate::plain_hits::PlainHits;
    #[pymodule_export]
    use crate::section_table::SectionTable;
    #[pymodule_export]
    use crate::shard_hash::{bucket_of, hash_bytes};
    #[pymodule_export]
    use crate::tally::Tally;
}
