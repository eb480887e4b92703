//! Escaped halves of surrogate pairs (RFC 8259 §7, §8.2), which no UTF-8 database can hold.

use std::borrow::Cow;

/// What a lone half is replaced with: as long as any `\uXXXX`, so that no offset moves.
const REPLACEMENT: &[u8; 6] = b"\\ufffd";

/// `text` with each lone half replaced by an escaped U+FFFD, and the offsets of those escapes.
///
/// The grammar allows lone halves and a decoder refuses them; with them out of the way the decoder
/// sees everything else that is wrong with the text. A backslash has a meaning only inside a
/// string and is a syntax error elsewhere, so this need not know where strings begin and end.
/// Nothing is copied when there is nothing to replace.
pub fn mask_lone_surrogates(text: &[u8]) -> (Cow<'_, [u8]>, Vec<usize>) {
    let mut masked = Cow::Borrowed(text);
    let mut lone = Vec::new();
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', &text[at..]) {
        let escape = at + found;
        at = match (escaped_unit(text, escape), escaped_unit(text, escape + 6)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => escape + 12,
            (Some(0xD800..=0xDFFF), _) => {
                masked.to_mut()[escape..escape + 6].copy_from_slice(REPLACEMENT);
                lone.push(escape);
                escape + 6
            }
            _ => (escape + 2).min(text.len()),
        };
    }
    (masked, lone)
}

/// The UTF-16 code unit written as `\uXXXX` at `at`; None when there is no such escape.
fn escaped_unit(text: &[u8], at: usize) -> Option<u16> {
    let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |unit: u16, &digit| {
        let value = char::from(digit).to_digit(16)?;
        Some(unit << 4 | u16::try_from(value).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use super::mask_lone_surrogates;
    use std::borrow::Cow;

    #[test]
    fn whole_pairs_and_plain_backslashes_stay() {
        for text in [
            "",
            "plain",
            r"\ud83d\ude00",
            r"\uD83D\uDE00\ud83d\ude00",
            r"\\ud800",
            r"\\\\udc00",
            r"\u0000",
            r"\ud8",
            r"\ud80g",
            r"\",
            r"\u",
        ] {
            let (masked, lone) = mask_lone_surrogates(text.as_bytes());
            assert!(matches!(masked, Cow::Borrowed(_)), "{text}");
            assert!(lone.is_empty(), "{text}");
        }
    }

    #[test]
    fn lone_halves_are_masked_in_place() {
        for (text, masked, offsets) in [
            (r"\ud800", r"\ufffd", &[0][..]),
            (r"x\uDFFFy", r"x\ufffdy", &[1]),
            (r"\\\udc00", r"\\\ufffd", &[2]),
            (r"\ude00\ud83d", r"\ufffd\ufffd", &[0, 6]),
            (r"\ud83d\ud83d\ude00", r"\ufffd\ud83d\ude00", &[0]),
            (r"\ud83d\u0041", r"\ufffd\u0041", &[0]),
            (r"\ud83d\n", r"\ufffd\n", &[0]),
            (r"\ud83d\u12", r"\ufffd\u12", &[0]),
        ] {
            let (actual, lone) = mask_lone_surrogates(text.as_bytes());
            assert_eq!(&*actual, masked.as_bytes(), "{text}");
            assert_eq!(lone, offsets, "{text}");
        }
    }
}
