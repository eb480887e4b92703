//! Lines of plain JSON objects as rows of PostgreSQL's binary COPY format, sorted by shard.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::interpreter_lock::unlocked;
use crate::json_scan::is_clean_object;
use crate::shard_hash::{bucket, id_bytes};

/// Fields of a row, as COPY counts them: id, the five in the head, data.
const FIELDS: [u8; 2] = 7u16.to_be_bytes();
const ID_BYTES: [u8; 4] = 16u32.to_be_bytes();
/// The first byte of jsonb on the wire; the JSON text follows.
const JSONB_FORMAT: u8 = 1;

/// What is the same for every line of an import.
struct Plan<'a> {
    first_id: u128,
    head: &'a [u8],
    shard_of: &'a [usize],
    done: &'a [u64],
    bare: bool,
}

/// One shard's rows, and the number of the line that each was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rows {
    bytes: Vec<u8>,
    lines: Vec<u8>,
}

impl Rows {
    fn push(&mut self, line: u64, id: [u8; 16], head: &[u8], data: &[u8]) -> Option<()> {
        let size = u32::try_from(data.len() + 1).ok()?;
        for part in [
            &FIELDS[..],
            &ID_BYTES,
            &id,
            head,
            &size.to_be_bytes(),
            &[JSONB_FORMAT],
            data,
        ] {
            self.bytes.extend_from_slice(part);
        }
        self.lines.extend(line.to_ne_bytes());
        Some(())
    }
}

impl Plan<'_> {
    /// Adds a line's row. None if it takes a closer look: it may be an exported line or a bad one.
    fn add(&self, rows: &mut [Rows], line: u64, text: &[u8]) -> Option<()> {
        if (!self.bare && may_name_data(text)) || !is_clean_object(text) {
            return None;
        }
        let id = self.first_id.wrapping_add(u128::from(line)).to_be_bytes();
        let shard = self.shard_of[usize::try_from(bucket(id, self.shard_of.len() as u64)).ok()?];
        if line > self.done[shard] {
            rows[shard].push(line, id, self.head, text)?;
        }
        Some(())
    }

    /// The rows of all lines in `text` by shard, and the lines without one.
    fn read<'t>(&self, text: &'t [u8], first_line: u64) -> (Vec<Rows>, Vec<(u64, &'t [u8])>) {
        let mut rows = vec![Rows::default(); self.done.len()];
        let mut left = Vec::new();
        let lines = text
            .strip_suffix(b"\n")
            .unwrap_or(text)
            .split(|&b| b == b'\n');
        for (line, each) in (first_line..).zip(lines) {
            if !each.trim_ascii().is_empty() && self.add(&mut rows, line, each).is_none() {
                left.push((line, each));
            }
        }
        (rows, left)
    }
}

/// Whether some member may be named `data`, in plain letters or in escapes.
fn may_name_data(text: &[u8]) -> bool {
    memchr::memmem::find(text, b"data\"").is_some() || memchr::memmem::find(text, b"\\u").is_some()
}

type ShardRows<'py> = Vec<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)>;
type LinesLeft<'py> = Vec<(u64, Bound<'py, PyBytes>)>;

/// Makes rows of lines; see the stub.
#[pyfunction]
#[expect(
    clippy::too_many_arguments,
    reason = "called in one place, by position"
)]
#[expect(
    clippy::needless_pass_by_value,
    reason = "PyO3 makes vectors of Python's lists"
)]
pub fn copy_rows<'py>(
    py: Python<'py>,
    text: &[u8],
    first_line: u64,
    first_id: &[u8],
    head: &[u8],
    shard_of: Vec<usize>,
    done: Vec<u64>,
    bare: bool,
) -> PyResult<(ShardRows<'py>, LinesLeft<'py>)> {
    if shard_of.is_empty() || shard_of.iter().any(|&shard| shard >= done.len()) {
        return Err(PyValueError::new_err(
            "shard_of names a shard beyond those of done",
        ));
    }
    let plan = Plan {
        first_id: u128::from_be_bytes(id_bytes(first_id)?),
        head,
        shard_of: &shard_of,
        done: &done,
        bare,
    };
    let (rows, left) = unlocked(py, text.len(), || plan.read(text, first_line));
    let rows = rows
        .iter()
        .map(|rows| (PyBytes::new(py, &rows.bytes), PyBytes::new(py, &rows.lines)));
    let left = left
        .iter()
        .map(|(line, text)| (*line, PyBytes::new(py, text)));
    Ok((rows.collect(), left.collect()))
}

#[cfg(test)]
mod tests {
    use super::{Plan, Rows, bucket};

    const PLAN: Plan<'static> = Plan {
        first_id: 1 << 40,
        head: b"head",
        shard_of: &[0, 0, 1, 1],
        done: &[0, 4],
        bare: false,
    };

    fn shard(line: u64) -> usize {
        let id = (PLAN.first_id + u128::from(line)).to_be_bytes();
        PLAN.shard_of[usize::try_from(bucket(id, 4)).unwrap()]
    }

    fn lines(rows: &Rows) -> Vec<u64> {
        let each = rows.lines.chunks(8);
        each.map(|line| u64::from_ne_bytes(line.try_into().unwrap()))
            .collect()
    }

    #[test]
    fn a_row_is_what_copy_expects() {
        let mut rows = Rows::default();
        rows.push(7, *b"0123456789abcdef", b"head", b"{}").unwrap();
        assert_eq!(
            rows.bytes,
            b"\0\x07\0\0\0\x100123456789abcdefhead\0\0\0\x03\x01{}"
        );
        assert_eq!(lines(&rows), [7]);
    }

    #[test]
    fn each_line_goes_to_the_shard_that_lacks_it() {
        let text = b"{}\n".repeat(40);
        let (rows, left) = PLAN.read(&text, 1);
        assert!(left.is_empty());
        for (n, rows) in rows.iter().enumerate() {
            let wanted: Vec<u64> = (1..=40)
                .filter(|&line| shard(line) == n && line > PLAN.done[n])
                .collect();
            assert!(!wanted.is_empty());
            assert_eq!(lines(rows), wanted);
        }
    }

    #[test]
    fn lines_that_may_not_be_plain_are_left() {
        let text = b"\n \r\n{\"data\":1}\n{\"\\u0064\":1}\n[]\n{\n{}\r\n{}";
        let (rows, left) = PLAN.read(text, 10);
        let left: Vec<u64> = left.iter().map(|(line, _)| *line).collect();
        assert_eq!(left, [12, 13, 14, 15]);
        let mut found: Vec<u64> = rows.iter().flat_map(lines).collect();
        found.sort_unstable();
        assert_eq!(found, [16, 17]);
        let bare = Plan { bare: true, ..PLAN };
        let (_, left) = bare.read(text, 10);
        assert_eq!(left.iter().map(|l| l.0).collect::<Vec<_>>(), [14, 15]);
    }

    #[test]
    fn no_text_is_no_line() {
        let (rows, left) = PLAN.read(b"", 1);
        assert_eq!((rows, left.len()), (vec![Rows::default(); 2], 0));
    }
}
