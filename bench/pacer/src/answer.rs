//! Reading an answer as its bytes arrive. Its body is counted and not kept.

use std::io::{Error, ErrorKind};

const MAX_FIELDS: usize = 64;
const MAX_HEAD_BYTES: usize = 32 << 10;

/// One answer with Content-Length, or of a status that has no body.
#[derive(Default)]
pub struct Answer {
    /// Of a head that has not arrived whole.
    head: Vec<u8>,
    body: Option<Body>,
}

struct Body {
    status: u16,
    missing_bytes: usize,
}

impl Answer {
    /// The status once its last byte is there, then ready for the next answer. An error: it is no
    /// HTTP/1.1, has no length, has a head of over 32 KiB, or more arrived than was asked for.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Option<u16>, Error> {
        let body = match self.body.take() {
            Some(mut body) => {
                body.missing_bytes = less(body.missing_bytes, bytes.len())?;
                body
            }
            None => match self.begin(bytes)? {
                Some(body) => body,
                None => return Ok(None),
            },
        };
        if body.missing_bytes == 0 {
            return Ok(Some(body.status));
        }
        self.body = Some(body);
        Ok(None)
    }

    /// The body as far as it is missing, once the head is there.
    fn begin(&mut self, bytes: &[u8]) -> Result<Option<Body>, Error> {
        if self.head.is_empty() {
            let begun = begun_body(bytes)?;
            if begun.is_none() {
                self.head.extend_from_slice(bytes);
            }
            return Ok(begun);
        }
        self.head.extend_from_slice(bytes);
        let begun = begun_body(&self.head)?;
        if begun.is_some() {
            self.head.clear();
        } else if self.head.len() > MAX_HEAD_BYTES {
            return Err(malformed());
        }
        Ok(begun)
    }
}

fn begun_body(bytes: &[u8]) -> Result<Option<Body>, Error> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let parsed = response.parse(bytes).map_err(|_| malformed())?;
    let httparse::Status::Complete(head_bytes) = parsed else {
        return Ok(None);
    };
    let status = response.code.ok_or_else(malformed)?;
    let length = if matches!(status, 204 | 304) {
        0
    } else {
        length_of(response.headers).ok_or_else(malformed)?
    };
    let missing_bytes = less(length, bytes.len() - head_bytes)?;
    Ok(Some(Body {
        status,
        missing_bytes,
    }))
}

fn length_of(fields: &[httparse::Header]) -> Option<usize> {
    let field = fields
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case("content-length"))?;
    std::str::from_utf8(field.value).ok()?.trim().parse().ok()
}

fn less(missing_bytes: usize, arrived: usize) -> Result<usize, Error> {
    missing_bytes.checked_sub(arrived).ok_or_else(malformed)
}

fn malformed() -> Error {
    Error::from(ErrorKind::InvalidData)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIRE: &[u8] = b"HTTP/1.1 404 Not Found\r\ncontent-LENGTH: 2\r\n\r\nno";

    #[test]
    fn an_answer_is_whole_wherever_it_is_cut() {
        for cut in 1..WIRE.len() {
            let mut answer = Answer::default();
            for _ in 0..2 {
                assert_eq!(answer.take(&WIRE[..cut]).unwrap(), None);
                assert_eq!(answer.take(&WIRE[cut..]).unwrap(), Some(404));
            }
        }
        let mut answer = Answer::default();
        let statuses: Vec<_> = WIRE
            .chunks(1)
            .filter_map(|byte| answer.take(byte).unwrap())
            .collect();
        assert_eq!(statuses, [404]);
    }

    #[test]
    fn some_statuses_have_no_body() {
        let wire = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n";
        assert_eq!(Answer::default().take(wire).unwrap(), Some(304));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let endless = [
            b"HTTP/1.1 200 OK\r\nX: ",
            vec![b'x'; MAX_HEAD_BYTES].as_slice(),
        ]
        .concat();
        let mut answer = Answer::default();
        assert!(answer.take(&endless).unwrap().is_none());
        assert!(answer.take(b"x").is_err());
        for wire in [
            b"SSH-2.0\r\n\r\n".as_slice(),
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
        ] {
            assert!(Answer::default().take(wire).is_err());
        }
    }
}
