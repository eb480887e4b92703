//! When each request is due. All times are nanoseconds since the start.

pub type Nanos = u64;

pub const NANOS_PER_S: f64 = 1e9;

#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub connections: usize,
    /// Nothing is due from then on.
    pub length: Nanos,
    /// Requests a second; 0: as fast as the answers come.
    pub rate: f64,
    /// Of all requests; 0: no limit but the length.
    pub count: u64,
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub fn nanos(seconds: f64) -> Nanos {
    (seconds * NANOS_PER_S) as Nanos
}

/// Knows the number of the next request only: what is overdue is arithmetic and takes no memory.
pub struct Timetable {
    plan: Plan,
    next: u64,
}

impl Timetable {
    pub fn new(plan: Plan) -> Self {
        Self { plan, next: 0 }
    }

    /// When the next request is due (`now` where no rate is kept); None after the last one.
    pub fn due(&self, now: Nanos) -> Option<Nanos> {
        #[allow(clippy::cast_precision_loss)]
        let due = if self.plan.rate > 0.0 {
            nanos(self.next as f64 / self.plan.rate)
        } else {
            now
        };
        let is_counted = self.plan.count == 0 || self.next < self.plan.count;
        (is_counted && due < self.plan.length).then_some(due)
    }

    /// The next request's number and when it was due, if that is not later than now.
    pub fn take(&mut self, now: Nanos) -> Option<(u64, Nanos)> {
        let due = self.due(now).filter(|due| *due <= now)?;
        self.next += 1;
        Some((self.next - 1, due))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Nanos = 1_000_000;

    fn plan(rate: f64, count: u64) -> Plan {
        Plan {
            connections: 1,
            length: 100 * MS,
            rate,
            count,
        }
    }

    #[test]
    fn the_timetable_does_not_wait_for_answers() {
        let mut table = Timetable::new(plan(100.0, 0));
        assert_eq!(table.take(0), Some((0, 0)));
        assert_eq!(table.take(9 * MS), None);
        assert_eq!(table.due(9 * MS), Some(10 * MS));
        assert_eq!(table.take(35 * MS), Some((1, 10 * MS)));
        assert_eq!(table.take(35 * MS), Some((2, 20 * MS)));
    }

    #[test]
    fn what_was_due_before_the_end_stays_due_after_it() {
        let mut table = Timetable::new(plan(100.0, 0));
        assert_eq!(std::iter::from_fn(|| table.take(500 * MS)).count(), 10);
        assert_eq!(table.due(500 * MS), None);
    }

    #[test]
    fn without_a_rate_the_next_request_is_due_now() {
        let mut table = Timetable::new(plan(0.0, 2));
        assert_eq!(table.take(7 * MS), Some((0, 7 * MS)));
        assert_eq!(table.take(8 * MS), Some((1, 8 * MS)));
        assert_eq!(table.take(9 * MS), None);
        assert_eq!(Timetable::new(plan(0.0, 0)).due(100 * MS), None);
    }
}
