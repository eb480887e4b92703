//! A load generator that keeps its own timetable, in one thread.
//!
//! `pacer ADDRESS REQUESTS_FILE CONNECTIONS SECONDS RATE COUNT`
//!
//! Request n is due n / RATE seconds after the start, whether or not earlier ones have been
//! answered, and is sent over whichever connection is free; its latency counts from when it was
//! due. So a server that stalls is charged for all requests that were due meanwhile (no coordinated
//! omission). RATE 0 asks as fast as the answers come. It ends after SECONDS, or COUNT requests
//! unless 0, when the last answer has arrived. One line of JSON goes to stdout (`report`).

mod answer;
mod connection;
mod generator;
mod ledger;
mod report;
mod requests;
#[cfg(test)]
mod stalls;
mod timetable;

use std::{env, fs};

use timetable::{Plan, nanos};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [address, file, connections, seconds, rate, count] = arguments.as_slice() else {
        panic!("usage: pacer ADDRESS REQUESTS_FILE CONNECTIONS SECONDS RATE COUNT");
    };
    let plan = Plan {
        connections: connections.parse().expect("CONNECTIONS is a number"),
        length: nanos(seconds.parse().expect("SECONDS is a number")),
        rate: rate.parse().expect("RATE is a number"),
        count: count.parse().expect("COUNT is a number"),
    };
    let text = fs::read_to_string(file).expect("REQUESTS_FILE can be read");
    let requests = requests::parse(&text, address);
    let seen = generator::run(address, &requests, plan).expect("the load can be generated");
    println!("{}", report::json(&seen));
}
