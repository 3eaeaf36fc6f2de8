//! One event in the shapes that sockets want.

use std::sync::OnceLock;

use idae_socket_protocol::websocket::Frame;

use super::Target;

/// How a socket wants its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The event and its argument.
    Plain,
    /// And behind it the offset, which a client that can be recovered remembers.
    WithOffset,
}

/// An event on its way to its sockets. It is encoded at most once per shape, by whoever needs it first.
pub(crate) struct Event {
    pub(crate) target: Target,
    /// May be dropped for a socket that cannot take it now.
    pub(crate) volatile: bool,
    /// Its place among all events, or that of the one before if it is not kept.
    pub(crate) position: u64,
    encoded: Frame,
    /// What stands behind the argument in `encoded`, in bytes: `,"offset"]`. Zero without an offset.
    tail: usize,
    plain: OnceLock<Frame>,
}

impl Event {
    /// An event that is encoded without an offset.
    pub(crate) fn plain(target: Target, volatile: bool, position: u64, encoded: Frame) -> Self {
        Self { target, volatile, position, encoded, tail: 0, plain: OnceLock::new() }
    }

    /// An event that is encoded with its offset, which takes `tail` bytes up to the end.
    pub(crate) fn with_offset(
        target: Target,
        volatile: bool,
        position: u64,
        encoded: Frame,
        tail: usize,
    ) -> Self {
        Self { target, volatile, position, encoded, tail, plain: OnceLock::new() }
    }

    pub(crate) fn frame(&self, shape: Shape) -> &Frame {
        if shape == Shape::WithOffset || self.tail == 0 {
            return &self.encoded;
        }
        self.plain.get_or_init(|| {
            let payload = self.encoded.payload();
            let head = &payload[..payload.len() - self.tail];
            // Cut before a comma, so it is text as before.
            Frame::text_from_parts(&[std::str::from_utf8(head).unwrap_or_default(), "]"])
        })
    }
}
