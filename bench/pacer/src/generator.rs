//! The loop: one thread that waits for answers and for what is due next.

use std::collections::VecDeque;
use std::io::Error;
use std::num::NonZeroU64;
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::time::{ClockId, Timespec};

use crate::connection::Connection;
use crate::ledger::Ledger;
use crate::timetable::{Nanos, Plan, Timetable};

/// How long after the end answers are waited for.
const PATIENCE: Nanos = 10_000_000_000;
/// Sleeping for less would cost a fifth more CPU time at high rates. It makes requests late by no
/// more than this, which their latencies include.
const RESOLUTION: Nanos = 100_000;
const BUFFER_BYTES: usize = 64 << 10;
const NANOS_PER_S: Nanos = 1_000_000_000;

/// Send `requests` in turn as `plan` says. An error: no connection, or no epoll.
pub fn run(address: &str, requests: &[Vec<u8>], plan: Plan) -> Result<Ledger, Error> {
    // Otherwise the kernel may wake us 50 µs after a request is due.
    rustix::thread::set_current_timer_slack(Some(NonZeroU64::MIN))?;
    let mut generator = Generator::connect(address, requests, plan)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut events = Vec::with_capacity(plan.connections);
    generator.send_due();
    while let Some(wait) = generator.wait() {
        events.clear();
        match epoll::wait(&generator.epoll, spare_capacity(&mut events), Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        generator.send_due();
        for event in &events {
            generator.hear(*event, &mut buffer);
            generator.send_due();
        }
    }
    Ok(generator.close())
}

struct Generator<'a> {
    requests: &'a [Vec<u8>],
    plan: Plan,
    timetable: Timetable,
    ledger: Ledger,
    epoll: OwnedFd,
    /// None once broken: what was due on the others shows that one is missing.
    connections: Vec<Option<Connection<'a>>>,
    /// Numbers of connections; the one that has been free longest is next, so all are used.
    free: VecDeque<usize>,
    busy: usize,
    start: Instant,
}

impl<'a> Generator<'a> {
    fn connect(address: &str, requests: &'a [Vec<u8>], plan: Plan) -> Result<Self, Error> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut connections = Vec::with_capacity(plan.connections);
        for number in 0..plan.connections {
            let connection = Connection::open(address)?;
            epoll::add(&epoll, &connection.stream, data(number), EventFlags::IN)?;
            connections.push(Some(connection));
        }
        Ok(Self {
            requests,
            plan,
            timetable: Timetable::new(plan),
            ledger: Ledger::new(),
            epoll,
            free: (0..plan.connections).collect(),
            connections,
            busy: 0,
            start: Instant::now(),
        })
    }

    fn now(&self) -> Nanos {
        Nanos::try_from(self.start.elapsed().as_nanos()).unwrap_or(Nanos::MAX)
    }

    /// How long nothing can be due; None when all is over.
    fn wait(&self) -> Option<Timespec> {
        let now = self.now();
        let due = self.timetable.due(now);
        let is_over = self.busy == 0 && (due.is_none() || self.free.is_empty());
        let last = self.plan.length.saturating_add(PATIENCE);
        if is_over || now >= last {
            return None;
        }
        let until = due.filter(|_| !self.free.is_empty()).unwrap_or(last);
        let wait = until.saturating_sub(now).max(RESOLUTION);
        Some(Timespec {
            tv_sec: (wait / NANOS_PER_S).cast_signed(),
            tv_nsec: (wait % NANOS_PER_S).cast_signed(),
        })
    }

    /// Send what is due over the connections that are free.
    fn send_due(&mut self) {
        while let Some(&at) = self.free.front() {
            let now = self.now();
            let Some((number, due)) = self.timetable.take(now) else {
                return;
            };
            self.free.pop_front();
            let Some(connection) = &mut self.connections[at] else {
                unreachable!("a broken connection is not free");
            };
            let kinds = self.requests.len() as u64;
            let request = usize::try_from(number % kinds).unwrap_or_default();
            self.busy += 1;
            self.ledger.sent(due, connection.free_since, now);
            let asked = connection.ask(&self.requests[request], due);
            let is_whole = !connection.has_unsent();
            if asked.is_err() || (!is_whole && self.watch(at, true).is_err()) {
                self.give_up(at);
            }
        }
    }

    /// Something happened on a connection.
    fn hear(&mut self, event: Event, buffer: &mut [u8]) {
        let at = usize::try_from(event.data.u64()).unwrap_or_default();
        let Some(connection) = &mut self.connections[at] else {
            return;
        };
        let flags = event.flags; // copied, because an Event is packed
        if flags.contains(EventFlags::OUT) {
            let sent = connection.send();
            let is_whole = !connection.has_unsent();
            if sent.is_err() || (is_whole && self.watch(at, false).is_err()) {
                return self.give_up(at);
            }
        }
        if !flags.difference(EventFlags::OUT).is_empty() {
            self.receive(at, buffer);
        }
    }

    fn receive(&mut self, at: usize, buffer: &mut [u8]) {
        let Some(connection) = &mut self.connections[at] else {
            return;
        };
        let received = connection.receive(buffer);
        let now = self.now();
        match (received, &mut self.connections[at]) {
            (Ok(None), _) | (_, None) => {}
            (Ok(Some(status)), Some(connection)) => {
                if let Some(due) = connection.finish(now) {
                    self.busy -= 1;
                    self.free.push_back(at);
                    self.ledger.ended(due, now, status == 200);
                    self.ledger.length = now;
                }
            }
            (Err(_), _) => self.give_up(at),
        }
    }

    fn watch(&self, at: usize, is_unsent: bool) -> Result<(), Error> {
        let Some(connection) = &self.connections[at] else {
            return Ok(());
        };
        let writable = if is_unsent {
            EventFlags::OUT
        } else {
            EventFlags::empty()
        };
        let flags = EventFlags::IN | writable;
        Ok(epoll::modify(
            &self.epoll,
            &connection.stream,
            data(at),
            flags,
        )?)
    }

    /// A connection is broken, and an error even if nothing was asked over it.
    fn give_up(&mut self, at: usize) {
        let now = self.now();
        let Some(connection) = self.connections[at].take() else {
            return;
        };
        match connection.due() {
            Some(due) => {
                self.busy -= 1;
                self.ledger.ended(due, now, false);
            }
            None => self.ledger.errors += 1,
        }
        self.free.retain(|free| *free != at);
    }

    /// Charge what was never answered, or never sent, with the time until now.
    fn close(mut self) -> Ledger {
        let now = self.now();
        for due in self
            .connections
            .iter()
            .flatten()
            .filter_map(Connection::due)
        {
            self.ledger.ended(due, now, false);
        }
        if self.plan.rate > 0.0 {
            while let Some((_, due)) = self.timetable.take(now) {
                self.ledger.ended(due, now, false);
            }
        }
        if self.ledger.errors > 0 {
            self.ledger.length = now;
        }
        let used = rustix::time::clock_gettime(ClockId::ProcessCPUTime);
        self.ledger.cpu = used.tv_sec.cast_unsigned() * NANOS_PER_S + used.tv_nsec.cast_unsigned();
        self.ledger
    }
}

fn data(number: usize) -> EventData {
    EventData::new_u64(number as u64)
}
