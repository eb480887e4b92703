//! One connection: at most one request on its way.

use std::io::{Error, ErrorKind, Read, Write};
use std::net::TcpStream;

use crate::answer::Answer;
use crate::timetable::Nanos;

/// A request that has not been answered; `unsent` is what the socket did not take yet.
struct Asked<'a> {
    due: Nanos,
    unsent: &'a [u8],
}

pub struct Connection<'a> {
    pub stream: TcpStream,
    pub free_since: Nanos,
    asked: Option<Asked<'a>>,
    answer: Answer,
}

impl<'a> Connection<'a> {
    pub fn open(address: &str) -> Result<Self, Error> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            free_since: 0,
            asked: None,
            answer: Answer::default(),
        })
    }

    /// When the request on its way was due.
    pub fn due(&self) -> Option<Nanos> {
        self.asked.as_ref().map(|asked| asked.due)
    }

    /// Whether the socket must become writable before the request has left.
    pub fn has_unsent(&self) -> bool {
        self.asked.as_ref().is_some_and(|a| !a.unsent.is_empty())
    }

    pub fn ask(&mut self, request: &'a [u8], due: Nanos) -> Result<(), Error> {
        self.asked = Some(Asked {
            due,
            unsent: request,
        });
        self.send()
    }

    /// What the socket takes of the request.
    pub fn send(&mut self) -> Result<(), Error> {
        let Some(asked) = &mut self.asked else {
            return Ok(());
        };
        while !asked.unsent.is_empty() {
            match self.stream.write(asked.unsent) {
                Ok(sent) => asked.unsent = &asked.unsent[sent..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What has arrived, as far as `buffer` is long; the status once the answer is whole. An error
    /// too when the server closes the connection or sends what was not asked for.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Result<Option<u16>, Error> {
        let arrived = match self.stream.read(buffer) {
            Ok(0) => return Err(Error::from(ErrorKind::UnexpectedEof)),
            Ok(arrived) => &buffer[..arrived],
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::Interrupted => return Ok(None),
                _ => return Err(error),
            },
        };
        if self.asked.is_none() {
            return Err(Error::from(ErrorKind::InvalidData));
        }
        self.answer.take(arrived)
    }

    /// The request is answered: when it was due.
    pub fn finish(&mut self, now: Nanos) -> Option<Nanos> {
        self.free_since = now;
        self.asked.take().map(|asked| asked.due)
    }
}
