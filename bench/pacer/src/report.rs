//! A run as one line of JSON.

use std::fmt::Write;

use hdrhistogram::Histogram;

use crate::ledger::Ledger;
use crate::timetable::{NANOS_PER_S, Nanos};

const NANOS_PER_MS: f64 = 1e6;

/// Counts, percentiles in ms, and `latencies_ms`: pairs of a share of all requests and the latency
/// that none of them exceeds, ten to each further nine, as a chart with a log axis needs them.
pub fn json(seen: &Ledger) -> String {
    let ms = |share| at(&seen.latencies, share);
    let pairs: Vec<String> = shares(seen.latencies.len())
        .into_iter()
        .map(|share| format!("[{share},{:.4}]", ms(share)))
        .collect();
    let mut text = String::new();
    let _ = write!(
        text,
        r#"{{"requests":{},"errors":{},"seconds":{:.6},"#,
        seen.latencies.len(),
        seen.errors,
        seconds(seen.length),
    );
    let _ = write!(
        text,
        r#""p50_ms":{:.4},"p90_ms":{:.4},"p99_ms":{:.4},"p999_ms":{:.4},"max_ms":{:.4},"#,
        ms(0.5),
        ms(0.9),
        ms(0.99),
        ms(0.999),
        ms(1.0),
    );
    let _ = write!(
        text,
        r#""late_p50_ms":{:.4},"late_p99_ms":{:.4},"late_max_ms":{:.4},"generator_cpu_s":{:.6},"latencies_ms":[{}]}}"#,
        at(&seen.lateness, 0.5),
        at(&seen.lateness, 0.99),
        at(&seen.lateness, 1.0),
        seconds(seen.cpu),
        pairs.join(","),
    );
    text
}

/// 0, 0.1 … 0.9, 0.91 … 0.99, 0.991 … as far as `count` latencies tell them apart, and 1.
fn shares(count: u64) -> Vec<f64> {
    let mut found = vec![0.0];
    let mut parts = 10;
    while parts <= count.saturating_mul(10) && parts <= 10_000_000 {
        #[allow(clippy::cast_precision_loss)]
        found.extend((1..10).map(|tenth| (parts - 10 + tenth) as f64 / parts as f64));
        parts *= 10;
    }
    found.push(1.0);
    found
}

fn at(histogram: &Histogram<u64>, share: f64) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    let nanos = histogram.value_at_quantile(share) as f64;
    nanos / NANOS_PER_MS
}

#[allow(clippy::cast_precision_loss)]
fn seconds(nanos: Nanos) -> f64 {
    nanos as f64 / NANOS_PER_S
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_latencies_have_three_nines_and_no_more() {
        let found = shares(1000);
        assert_eq!(found[..3], [0.0, 0.1, 0.2]);
        assert!(found.contains(&0.99) && found.contains(&0.999));
        assert_eq!(found[found.len() - 2..], [0.9999, 1.0]);
        assert!(found.is_sorted());
        assert_eq!(shares(0), [0.0, 1.0]);
    }

    #[test]
    fn percentiles_are_in_milliseconds() {
        let mut ledger = Ledger::new();
        for n in 1..=1000 {
            ledger.ended(0, n * 1_000_000, true);
        }
        let text = json(&ledger);
        for part in [
            r#""requests":1000,"errors":0"#,
            r#""p50_ms":500."#,
            r#""p90_ms":900."#,
            r#""max_ms":1000."#,
            "[0.99,990.",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
