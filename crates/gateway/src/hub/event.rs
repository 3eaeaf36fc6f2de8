//! One event in the shapes that sockets want.

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

    /// The event with its offset, if there is a history.
    pub(crate) const fn with_offset(&self) -> &Frame {
        &self.encoded
    }

    /// The event without an offset: the same frame if it has none, or a new one.
    pub(crate) fn without_offset(&self) -> Frame {
        if self.tail == 0 {
            return self.encoded.clone();
        }
        let payload = self.encoded.payload();
        let head = &payload[..payload.len() - self.tail];
        // Cut before a comma, so it is text as before.
        Frame::text_from_parts([std::str::from_utf8(head).unwrap_or_default(), "]"])
    }
}
