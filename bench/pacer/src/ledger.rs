//! What a run has seen, in memory that does not grow with it.

use hdrhistogram::Histogram;

use crate::timetable::Nanos;

/// Latencies are exact to a microsecond, then to three digits; the largest counts as an hour.
const LEAST: Nanos = 1_000;
const MOST: Nanos = 3_600_000_000_000;
const DIGITS: u8 = 3;

pub struct Ledger {
    /// Of every request, from when it was due.
    pub latencies: Histogram<u64>,
    /// How late requests left although a connection had been free when they were due.
    pub lateness: Histogram<u64>,
    /// Statuses other than 200, broken connections, and requests that were never answered.
    pub errors: u64,
    /// From the start to the last answer.
    pub length: Nanos,
    /// User and system time of this process.
    pub cpu: Nanos,
}

impl Ledger {
    pub fn new() -> Self {
        Self {
            latencies: empty(),
            lateness: empty(),
            errors: 0,
            length: 0,
            cpu: 0,
        }
    }

    /// A request leaves over a connection that has been free since `free_since`.
    pub fn sent(&mut self, due: Nanos, free_since: Nanos, now: Nanos) {
        if free_since <= due {
            self.lateness.saturating_record(now - due);
        }
    }

    /// It has been answered, or never will be: then its latency is at least this.
    pub fn ended(&mut self, due: Nanos, now: Nanos, is_good: bool) {
        self.latencies.saturating_record(now - due);
        self.errors += u64::from(!is_good);
    }
}

fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(LEAST, MOST, DIGITS).expect("bounds that a histogram can have")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timetable::{Plan, Timetable};

    const MS: Nanos = 1_000_000;

    #[test]
    fn lateness_is_only_what_the_generator_can_be_blamed_for() {
        let mut ledger = Ledger::new();
        ledger.sent(10 * MS, 5 * MS, 12 * MS);
        ledger.sent(10 * MS, 50 * MS, 50 * MS); // every connection was busy until then
        assert_eq!(ledger.lateness.len(), 1);
        assert!(ledger.lateness.equivalent(ledger.lateness.max(), 2 * MS));
    }

    #[test]
    fn a_latency_beyond_the_histogram_counts_as_the_largest() {
        let mut ledger = Ledger::new();
        ledger.ended(0, 2 * MOST, false);
        assert_eq!((ledger.latencies.len(), ledger.errors), (1, 1));
    }

    /// One connection to a server that takes 1 ms, and 200 ms from 100 ms on, in virtual time: a
    /// queue that this test computes by Lindley's recursion, not by the code under test.
    #[test]
    fn percentiles_are_those_of_the_open_loop() {
        let plan = Plan {
            connections: 1,
            length: 1000 * MS,
            rate: 100.0,
            count: 0,
        };
        let (mut table, mut ledger) = (Timetable::new(plan), Ledger::new());
        let mut free_at = 0;
        while let Some(due) = table.due(free_at) {
            let now = due.max(free_at);
            let (_, due) = table.take(now).expect("it is due");
            ledger.sent(due, free_at, now);
            let takes = if now == 100 * MS { 200 * MS } else { MS };
            free_at = now + takes;
            ledger.ended(due, free_at, true);
        }
        let mut expected: Vec<Nanos> = Vec::new();
        let mut ends = 0;
        for n in 0..100 {
            let due = n * 10 * MS;
            let begins = due.max(ends);
            ends = begins + if n == 10 { 200 * MS } else { MS };
            expected.push(ends - due);
        }
        expected.sort_unstable();
        assert_eq!(ledger.latencies.len(), 100);
        for rank in 1..=100 {
            #[allow(clippy::cast_precision_loss)]
            let reported = ledger.latencies.value_at_quantile(rank as f64 / 100.0);
            let exact = expected[rank - 1];
            assert!(ledger.latencies.equivalent(reported, exact), "rank {rank}");
        }
        // Most are quick, and a tenth waited for half of the stall or longer.
        assert!(ledger.latencies.value_at_quantile(0.7) < 2 * MS);
        assert!(ledger.latencies.value_at_quantile(0.9) >= 100 * MS);
        assert!(ledger.latencies.max() >= 200 * MS);
    }
}
