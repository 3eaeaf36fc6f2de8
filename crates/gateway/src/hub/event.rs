//! One event in the shapes that sockets want.

use idae_socket_protocol::socketio::{Parser, repack};
use idae_socket_protocol::websocket::Frame;

use super::Target;

/// How a socket wants its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) parser: Parser,
    /// Behind the argument comes the offset, which a client that can be recovered remembers.
    pub(crate) has_offset: bool,
}

impl Shape {
    /// How many there are.
    pub(super) const COUNT: usize = 4;

    /// Its place among all.
    pub(super) const fn index(self) -> usize {
        let parser = match self.parser {
            Parser::Json => 0,
            Parser::Msgpack => 2,
        };
        parser + self.has_offset as usize
    }
}

/// An event on its way to its sockets.
pub(crate) struct Event {
    pub(crate) target: Target,
    /// May be dropped for a socket that cannot take it now.
    pub(crate) volatile: bool,
    /// Its place among all events, or that of the one before if it is not kept.
    pub(crate) position: u64,
    encoded: Frame,
    /// What stands behind the argument in `encoded`, in bytes: `,"offset"]`. Zero without an offset.
    tail: usize,
}

impl Event {
    /// An event whose encoded form ends with so many bytes of offset; none if there is no history.
    pub(crate) const fn new(
        target: Target,
        volatile: bool,
        position: u64,
        encoded: Frame,
        tail: usize,
    ) -> Self {
        Self { target, volatile, position, encoded, tail }
    }

    /// The event in one of its shapes. The encoded form is shared, another is made anew.
    pub(crate) fn frame(&self, shape: Shape) -> Frame {
        let json =
            if shape.has_offset || self.tail == 0 { self.encoded.clone() } else { self.without_offset() };
        match shape.parser {
            Parser::Json => json,
            Parser::Msgpack => {
                let payload = json.payload();
                Frame::binary(&repack(std::str::from_utf8(&payload).unwrap_or_default(), &[]))
            }
        }
    }

    fn without_offset(&self) -> Frame {
        let payload = self.encoded.payload();
        let head = &payload[..payload.len() - self.tail];
        // Cut before a comma, so it is text as before.
        Frame::text_from_parts([std::str::from_utf8(head).unwrap_or_default(), "]"])
    }
}
