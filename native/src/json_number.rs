//! How long a JSON number becomes when PostgreSQL's jsonb writes it out.
//!
//! jsonb keeps a number as `numeric` and writes it without an exponent: `1e131071`, eight bytes
//! in a request, is 131,072 digits in every answer. What one text may gain by that is bounded.

/// The most digits a stored number may have, zeros before and after the point included.
const MAX_DIGITS: u64 = 1000;
/// numeric's reader refuses a larger exponent outright, even that of a zero.
const MAX_EXPONENT: i64 = (i32::MAX / 2) as i64;

/// The most digits by which all numbers of a text together may grow.
const MAX_GROWTH: u64 = 1 << 20;

/// The numbers of one text, as far as they have been read.
#[derive(Default)]
pub struct Numbers {
    growth: u64,
}

impl Numbers {
    /// Counts one more number; says what is wrong with it, if jsonb cannot hold it or would write
    /// too many digits.
    ///
    /// `token` is a number of RFC 8259 §6, nothing around it.
    pub fn problem_of(&mut self, token: &[u8]) -> Option<String> {
        let Some(digits) = written_digits(token).filter(|&digits| digits <= MAX_DIGITS) else {
            return Some(too_long());
        };
        self.growth += digits.saturating_sub(token.len() as u64);
        (self.growth > MAX_GROWTH).then(|| {
            format!(
                "makes the numbers so far more than {MAX_GROWTH} digits longer when written out"
            )
        })
    }
}

/// What is wrong with a number of more than [`MAX_DIGITS`] digits.
pub fn too_long() -> String {
    format!("has more than {MAX_DIGITS} digits when written out")
}

fn written_digits(token: &[u8]) -> Option<u64> {
    let unsigned = token.strip_prefix(b"-").unwrap_or(token);
    let (mantissa, exponent) = match memchr::memchr2(b'e', b'E', unsigned) {
        Some(at) => (&unsigned[..at], exponent_value(&unsigned[at + 1..])?),
        None => (unsigned, 0),
    };
    let (integer, fraction) = match memchr::memchr(b'.', mantissa) {
        Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
        None => (mantissa, &[][..]),
    };
    let places = i64::try_from(fraction.len()).ok()?;
    let significant = significant_digits(integer, fraction)?;
    let before_point = if significant == 0 {
        1
    } else {
        (significant - places + exponent).max(1)
    };
    // The display scale: digits behind the point that were written stay, also when they are zeros.
    let behind_point = (places - exponent).max(0);
    u64::try_from(before_point + behind_point).ok()
}

/// Digits from the first that is not zero to the end of the mantissa; 0 for a zero.
fn significant_digits(integer: &[u8], fraction: &[u8]) -> Option<i64> {
    let digits = integer.iter().chain(fraction);
    let leading_zeros = digits.take_while(|&&digit| digit == b'0').count();
    i64::try_from(integer.len() + fraction.len() - leading_zeros).ok()
}

/// None when the exponent is beyond what numeric reads.
fn exponent_value(text: &[u8]) -> Option<i64> {
    let negative = text.first() == Some(&b'-');
    let magnitude =
        text.iter()
            .filter(|byte| byte.is_ascii_digit())
            .try_fold(0, |value: i64, digit| {
                let next = value * 10 + i64::from(digit - b'0');
                (next < MAX_EXPONENT).then_some(next)
            })?;
    Some(if negative { -magnitude } else { magnitude })
}

#[cfg(test)]
mod tests {
    use super::{MAX_GROWTH, Numbers, written_digits};

    fn is_storable(token: &[u8]) -> bool {
        Numbers::default().problem_of(token).is_none()
    }

    #[test]
    fn what_all_numbers_gain_together_is_bounded() {
        let mut numbers = Numbers::default();
        let gain = 1000 - b"1e999".len() as u64;
        for _ in 0..MAX_GROWTH / gain {
            assert_eq!(numbers.problem_of(b"1e999"), None);
        }
        assert_eq!(numbers.problem_of(b"12345"), None);
        assert!(numbers.problem_of(b"1e999").is_some());
        assert!(numbers.problem_of(b"1").is_some());
    }

    #[test]
    fn counts_what_jsonb_writes() {
        for (token, digits) in [
            ("0", 1),
            ("-0", 1),
            ("-0.0", 2),
            ("10", 2),
            ("1.10", 3),
            ("1E2", 3),
            ("1.5e1", 2),
            ("1.50e+1", 3),
            ("12e-1", 2),
            ("1e-3", 4),
            ("0e5", 1),
            ("0e-5", 6),
            ("0.001e3", 1),
            ("0.010e1", 3),
            ("1e131071", 131_072),
            ("1e-131071", 131_072),
            ("1e0000000000000000000000000001", 2),
        ] {
            assert_eq!(written_digits(token.as_bytes()), Some(digits), "{token}");
        }
    }

    #[test]
    fn the_thousandth_digit_is_the_last() {
        let nines = "9".repeat(1000);
        for (token, fits) in [
            (nines.clone(), true),
            (format!("-{nines}"), true),
            (format!("{nines}9"), false),
            (format!("{nines}.9"), false),
            (format!("0.{}", "9".repeat(999)), true),
            (format!("0.{nines}"), false),
            (format!("0.{}", "0".repeat(1000)), false),
            ("1e999".into(), true),
            ("1e1000".into(), false),
            ("1e-999".into(), true),
            ("1e-1000".into(), false),
            ("1e131071".into(), false),
            ("1e99999999999999999999999".into(), false),
            ("-1e-99999999999999999999999".into(), false),
            ("0e1000".into(), true),
            ("0e1073741823".into(), false),
        ] {
            assert_eq!(is_storable(token.as_bytes()), fits, "{token}");
        }
    }
}
