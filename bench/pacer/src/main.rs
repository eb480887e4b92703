//! A load generator that keeps its own timetable.
//!
//! `pacer ADDRESS REQUESTS_FILE CONNECTIONS SECONDS RATE COUNT`
//!
//! Request n is due n / RATE seconds after the start, on connection n mod CONNECTIONS, whether or
//! not earlier ones have been answered; its latency counts from when it was due. So a server that
//! stalls is charged for all that should have been asked meanwhile (no coordinated omission).
//! RATE 0 asks as fast as the answers come. It ends after SECONDS, or COUNT requests unless 0.
//! One line of JSON goes to stdout.

use std::io::{BufRead, BufReader, Error, ErrorKind, Write};
use std::net::TcpStream;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

const READ_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, Copy)]
struct Plan {
    connections: usize,
    seconds: f64,
    rate: f64,
    count: usize,
}

/// Seconds per request, from when it was due, and how late it left although the line was free.
#[derive(Default)]
struct Samples {
    latencies: Vec<f64>,
    delays: Vec<f64>,
    errors: usize,
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [address, file, connections, seconds, rate, count] = arguments.as_slice() else {
        panic!("usage: pacer ADDRESS REQUESTS_FILE CONNECTIONS SECONDS RATE COUNT");
    };
    let plan = Plan {
        connections: connections.parse().expect("connections"),
        seconds: seconds.parse().expect("seconds"),
        rate: rate.parse().expect("rate"),
        count: count.parse().expect("count"),
    };
    let text = fs::read_to_string(file).expect("requests file");
    let requests = Arc::new(requests_of(&text, address));
    let barrier = Arc::new(Barrier::new(plan.connections + 1));
    let threads: Vec<_> = (0..plan.connections)
        .map(|number| {
            let (requests, barrier) = (requests.clone(), barrier.clone());
            let stream = TcpStream::connect(address).expect("connect");
            thread::spawn(move || {
                barrier.wait();
                talk(stream, &requests, plan, number)
            })
        })
        .collect();
    barrier.wait();
    let start = Instant::now();
    let mut all = Samples::default();
    for thread in threads {
        let samples = thread.join().expect("a connection's thread");
        all.latencies.extend(samples.latencies);
        all.delays.extend(samples.delays);
        all.errors += samples.errors;
    }
    println!("{}", report(&mut all, start.elapsed().as_secs_f64()));
}

/// The file holds header lines, an empty line, and request targets, one a line.
fn requests_of(text: &str, address: &str) -> Vec<Vec<u8>> {
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

/// One connection's share of the timetable, from start to end.
fn talk(mut stream: TcpStream, requests: &[Vec<u8>], plan: Plan, number: usize) -> Samples {
    stream.set_nodelay(true).expect("TCP_NODELAY");
    stream
        .set_read_timeout(Some(READ_TIMEOUT))
        .expect("read timeout");
    let mut reader = BufReader::with_capacity(1 << 16, stream.try_clone().expect("clone"));
    let mut samples = Samples::default();
    let start = Instant::now();
    let end = start + Duration::from_secs_f64(plan.seconds);
    let mut body = Vec::new();
    for n in (number..).step_by(plan.connections) {
        if plan.count > 0 && n >= plan.count {
            break;
        }
        let now = Instant::now();
        let due = due_at(start, plan.rate, n).unwrap_or(now);
        if due.max(now) >= end {
            break;
        }
        if due > now {
            thread::sleep(due - now);
            samples.delays.push(due.elapsed().as_secs_f64());
        }
        let answered = stream
            .write_all(&requests[n % requests.len()])
            .and_then(|()| read_answer(&mut reader, &mut body));
        samples.latencies.push(due.elapsed().as_secs_f64());
        match answered {
            Ok(200) => {}
            Ok(_) => samples.errors += 1,
            Err(_) => {
                samples.errors += 1;
                break;
            }
        }
    }
    samples
}

fn due_at(start: Instant, rate: f64, n: usize) -> Option<Instant> {
    #[allow(clippy::cast_precision_loss)]
    (rate > 0.0).then(|| start + Duration::from_secs_f64(n as f64 / rate))
}

/// The status of the answer, which has a Content-Length.
fn read_answer(reader: &mut impl BufRead, body: &mut Vec<u8>) -> Result<u16, Error> {
    let mut line = String::new();
    let mut length = None;
    reader.read_line(&mut line)?;
    let malformed = || Error::from(ErrorKind::InvalidData);
    let status = line
        .get(9..12)
        .and_then(|text| text.parse().ok())
        .ok_or_else(malformed)?;
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok();
        }
    }
    body.resize(length.ok_or_else(malformed)?, 0);
    reader.read_exact(body)?;
    Ok(status)
}

fn report(samples: &mut Samples, seconds: f64) -> String {
    samples.latencies.sort_by(f64::total_cmp);
    samples.delays.sort_by(f64::total_cmp);
    let latency_ms = |share| percentile(&samples.latencies, share) * 1e3;
    format!(
        r#"{{"requests":{},"errors":{},"seconds":{seconds:.6},"p50_ms":{:.4},"p99_ms":{:.4},"p999_ms":{:.4},"late_p99_ms":{:.4}}}"#,
        samples.latencies.len(),
        samples.errors,
        latency_ms(0.5),
        latency_ms(0.99),
        latency_ms(0.999),
        percentile(&samples.delays, 0.99) * 1e3,
    )
}

/// By nearest rank; 0 of nothing.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss
    )]
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let sorted: Vec<f64> = (1..=1000).map(f64::from).collect();
        assert!((percentile(&sorted, 0.5) - 500.0).abs() < 1e-9);
        assert!((percentile(&sorted, 0.999) - 999.0).abs() < 1e-9);
        assert!(percentile(&[], 0.99).abs() < 1e-9);
    }

    #[test]
    fn an_answer_is_read_to_its_end() {
        let mut wire: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nnoHTTP";
        assert_eq!(read_answer(&mut wire, &mut Vec::new()).unwrap(), 404);
        assert_eq!(wire, b"HTTP");
        assert!(read_answer(&mut wire, &mut Vec::new()).is_err());
    }

    #[test]
    fn the_timetable_does_not_wait() {
        let start = Instant::now();
        assert_eq!(
            due_at(start, 100.0, 5),
            Some(start + Duration::from_millis(50))
        );
        assert_eq!(due_at(start, 0.0, 5), None);
    }
}
