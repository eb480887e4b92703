//! The requests that are sent, in turn.

/// From header lines, an empty line, and request targets, one a line. Panics on any other text.
pub fn parse(text: &str, address: &str) -> Vec<Vec<u8>> {
    let (headers, targets) = text
        .split_once("\n\n")
        .expect("headers, blank line, targets");
    let fields = headers.replace('\n', "\r\n");
    targets
        .lines()
        .map(|target| {
            format!("GET {target} HTTP/1.1\r\nHost: {address}\r\n{fields}\r\n\r\n").into_bytes()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_becomes_a_request_with_all_fields() {
        let requests = parse("A: 1\nB: 2\n\n/x\n/y\n", "h:1");
        let first = b"GET /x HTTP/1.1\r\nHost: h:1\r\nA: 1\r\nB: 2\r\n\r\n";
        assert_eq!(requests[0], first);
        assert_eq!(requests.len(), 2);
    }
}
