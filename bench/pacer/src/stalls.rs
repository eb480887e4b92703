//! The generator beside a real server that stalls as planned.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::generator::run;
use crate::timetable::{NANOS_PER_S, Plan, nanos};

const RATE: u64 = 1000;
const STALL_MS: u64 = 200;
/// The requests, by the order in which the server reads them, before whose answer it stalls.
const STALLS_AT: [u64; 2] = [300, 900];
const CONNECTIONS: usize = 4;

/// Its address. One request is served at a time, so a stall holds up every connection.
fn server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let (turn, served) = (Arc::new(Mutex::new(())), Arc::new(AtomicU64::new(0)));
    thread::spawn(move || {
        for stream in listener.incoming().take(CONNECTIONS) {
            let (turn, served) = (turn.clone(), served.clone());
            thread::spawn(move || serve(&stream.expect("a connection"), &turn, &served));
        }
    });
    address
}

/// Until the client closes.
fn serve(mut stream: &TcpStream, turn: &Mutex<()>, served: &AtomicU64) {
    let mut request = [0; 1024];
    while stream.read(&mut request).is_ok_and(|length| length > 0) {
        let _turn = turn.lock().expect("no thread panics");
        if STALLS_AT.contains(&served.fetch_add(1, SeqCst)) {
            thread::sleep(Duration::from_millis(STALL_MS));
        }
        let answered = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
        if answered.is_err() {
            return;
        }
    }
}

/// The server has answered k requests when it stalls before the answer of a (k+1)th. By then k+1
/// are due, so the stall begins no earlier than when request k is due. Of those that are due until
/// `x` before its end only k were answered, so at least RATE × (stall − x) have a latency of `x`
/// or more: however slow the machine, which can only add to that. (Of those, as many as there are
/// connections may have waited since before the stall.) A closed loop would have seen one such
/// latency a connection.
#[test]
fn a_stall_is_charged_for_all_that_was_due_meanwhile() {
    let plan = Plan {
        connections: CONNECTIONS,
        length: nanos(1.5),
        #[allow(clippy::cast_precision_loss)]
        rate: RATE as f64,
        count: 0,
    };
    let requests = [b"GET / HTTP/1.1\r\n\r\n".to_vec()];
    let seen = run(&server(), &requests, plan).expect("a run");
    assert_eq!((seen.latencies.len(), seen.errors), (1500, 0));
    for latency_ms in [10, 50, 100, 150, 190] {
        let waited = RATE * (STALL_MS - latency_ms) / 1000 * STALLS_AT.len() as u64;
        let waited = waited - CONNECTIONS as u64;
        let ns = latency_ms * 1_000_000;
        let counted = seen.latencies.count_between(ns, u64::MAX);
        assert!(
            counted >= waited,
            "{counted} of {waited} over {latency_ms} ms"
        );
        // What a percentile says is the same thing read the other way.
        #[allow(clippy::cast_precision_loss)]
        let share = 1.0 - (waited as f64 - 1.0) / 1500.0;
        let reported = seen.latencies.value_at_quantile(share);
        assert!(reported >= ns || seen.latencies.equivalent(reported, ns));
    }
    assert!(seen.length >= plan.length - 2_000_000);
    assert!(seen.cpu > 0);
}

#[test]
fn a_closed_loop_asks_for_exactly_as_many_as_it_is_told() {
    let plan = Plan {
        connections: CONNECTIONS,
        length: nanos(60.0),
        rate: 0.0,
        count: 250,
    };
    let requests = [b"GET / HTTP/1.1\r\n\r\n".to_vec()];
    let seen = run(&server(), &requests, plan).expect("a run");
    assert_eq!((seen.latencies.len(), seen.errors), (250, 0));
    assert_eq!(seen.lateness.max(), 0);
}

#[test]
fn a_server_that_hangs_up_is_an_error_for_each_request_that_was_due() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let closer = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let _ = stream.read(&mut [0; 10]); // not all: the rest makes the close a reset
    });
    let plan = Plan {
        connections: 1,
        length: nanos(0.001),
        rate: 5.0 / 0.001,
        count: 0,
    };
    let requests = [b"GET / HTTP/1.1\r\n\r\n".to_vec()];
    let seen = run(&address, &requests, plan).expect("a run");
    closer.join().expect("the server");
    assert!((1..=5).contains(&seen.errors));
    assert_eq!(seen.latencies.len(), seen.errors);
    #[allow(clippy::cast_precision_loss)]
    let seconds = seen.length as f64 / NANOS_PER_S;
    assert!(seconds > 0.0);
}

#[test]
fn a_request_that_the_socket_takes_in_parts_arrives_whole() {
    const BYTES: usize = 16 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let reader = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut request = vec![0; BYTES];
        stream.read_exact(&mut request).expect("the whole request");
        let answered = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        answered.expect("somebody listens");
        request
    });
    let plan = Plan {
        connections: 1,
        length: nanos(60.0),
        rate: 0.0,
        count: 1,
    };
    let request: Vec<u8> = (0..BYTES).map(|n| n.to_le_bytes()[n % 3]).collect();
    let seen = run(&address, std::slice::from_ref(&request), plan).expect("a run");
    assert_eq!((seen.latencies.len(), seen.errors), (1, 0));
    assert!(reader.join().expect("the server") == request);
}
