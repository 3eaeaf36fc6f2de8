//! What waits to be sent, and who waits for an acknowledgement.
//!
//! Invariants
//! * The queue never holds more than [`BUFFERED_PACKETS_MAX`] packets or [`BUFFERED_BYTES_MAX`] bytes.
//! * An acknowledgement is waited for exactly as long as its caller waits.
//! * A reply never travels on another connection than the event it answers.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use idae_socket_protocol::socketio::{self, ATTACHMENTS_MAX, Args, RESERVED_EVENTS};
use tokio::sync::oneshot;

use crate::{DisconnectReason, Error};

/// Bytes that wait to be sent, most of them while disconnected. One message may not be larger either.
pub const BUFFERED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Packets that wait to be sent.
pub const BUFFERED_PACKETS_MAX: usize = 1024;

/// What an acknowledgement's caller gets.
pub(crate) type Answer = Result<Args<'static>, Error>;

/// One packet as it goes out.
pub(crate) struct Packet {
    pub(crate) text: String,
    pub(crate) attachments: Vec<Bytes>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Event { id: Option<u64> },
    Reply,
}

impl Packet {
    fn bytes(&self) -> usize {
        self.text.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }

    fn largest_message(&self) -> usize {
        self.attachments.iter().map(Bytes::len).max().unwrap_or(0).max(self.text.len())
    }
}

/// Why a packet was not taken.
pub(crate) enum Rejected {
    /// There may be room later.
    Full,
    /// There never will be.
    For(Error),
}

/// The queue and the acknowledgements of one driver.
pub(crate) struct Outbox {
    queue: VecDeque<Packet>,
    queued_bytes: usize,
    waiting: HashMap<u64, oneshot::Sender<Answer>>,
    next_id: u64,
    /// Counts the connections, so that a late reply is recognised.
    connection: u64,
    is_joined: bool,
    is_closed: bool,
    /// Largest message the server announced; it ends the connection over a larger one.
    message_bytes_max: usize,
}

impl Outbox {
    pub(crate) fn new() -> Self {
        Self {
            queue: VecDeque::new(),
            queued_bytes: 0,
            waiting: HashMap::new(),
            next_id: 0,
            connection: 0,
            is_joined: false,
            is_closed: false,
            message_bytes_max: usize::MAX,
        }
    }

    pub(crate) fn push_event(
        &mut self,
        namespace: &str,
        name: &str,
        args: &Args<'_>,
        answer: Option<oneshot::Sender<Answer>>,
    ) -> Result<Option<u64>, Rejected> {
        if RESERVED_EVENTS.contains(&name) {
            return Err(Rejected::For(Error::ReservedEvent(name.to_owned())));
        }
        let id = answer.as_ref().map(|_| self.next_id);
        let text = socketio::event(namespace, id, name, args);
        self.push(Packet { text, attachments: args.attachments().to_vec(), kind: Kind::Event { id } })?;
        if let (Some(id), Some(answer)) = (id, answer) {
            self.waiting.insert(id, answer);
            self.next_id += 1;
        }
        Ok(id)
    }

    pub(crate) fn push_reply(
        &mut self,
        namespace: &str,
        id: u64,
        connection: u64,
        args: &Args<'_>,
    ) -> Result<(), Rejected> {
        if connection != self.connection {
            return Err(Rejected::For(Error::Disconnected(DisconnectReason::TransportClose)));
        }
        let text = socketio::ack(namespace, id, args);
        self.push(Packet { text, attachments: args.attachments().to_vec(), kind: Kind::Reply })
    }

    fn push(&mut self, packet: Packet) -> Result<(), Rejected> {
        if self.is_closed {
            return Err(Rejected::For(Error::Closed));
        }
        let (count, max) = (packet.attachments.len(), ATTACHMENTS_MAX);
        if count > max {
            return Err(Rejected::For(Error::TooManyAttachments { count, max }));
        }
        let (bytes, bytes_max) = (packet.largest_message(), self.message_bytes_max);
        if bytes > bytes_max {
            return Err(Rejected::For(Error::TooLarge { bytes, bytes_max }));
        }
        let (bytes, bytes_max) = (packet.bytes(), BUFFERED_BYTES_MAX);
        if bytes > bytes_max {
            return Err(Rejected::For(Error::TooLarge { bytes, bytes_max }));
        }
        if self.queued_bytes + bytes > BUFFERED_BYTES_MAX || self.queue.len() == BUFFERED_PACKETS_MAX {
            return Err(Rejected::Full);
        }
        self.queued_bytes += bytes;
        self.queue.push_back(packet);
        Ok(())
    }

    /// The next packet to send.
    pub(crate) fn pop(&mut self) -> Option<Packet> {
        let packet = self.queue.pop_front()?;
        self.queued_bytes -= packet.bytes();
        Some(packet)
    }

    /// Nobody waits for this acknowledgement any more. If its event was not sent, it never will be.
    pub(crate) fn forget(&mut self, id: u64) {
        // Without an entry the answer came, so the event was sent and the queue need not be searched.
        if self.waiting.remove(&id).is_some() {
            self.retain(|kind| kind != Kind::Event { id: Some(id) });
        }
    }

    /// An acknowledgement came. One that nobody asked for, or too late, is ignored.
    pub(crate) fn answer(&mut self, id: u64, args: Args<'static>) {
        if let Some(waiting) = self.waiting.remove(&id) {
            // A caller that has just gone away has no use for it.
            let _ = waiting.send(Ok(args));
        }
    }

    pub(crate) const fn opened(&mut self, message_bytes_max: usize) {
        self.connection += 1;
        self.message_bytes_max = message_bytes_max;
    }

    pub(crate) const fn joined(&mut self) {
        self.is_joined = true;
    }

    /// The connection is gone: what was sent on it is not answered any more.
    pub(crate) fn left(&mut self, reason: DisconnectReason) {
        self.is_joined = false;
        self.connection += 1;
        self.retain(|kind| kind != Kind::Reply);
        let mut sent = std::mem::take(&mut self.waiting);
        for packet in &self.queue {
            if let Kind::Event { id: Some(id) } = packet.kind
                && let Some(answer) = sent.remove(&id)
            {
                self.waiting.insert(id, answer);
            }
        }
        for (_, answer) in sent {
            let _ = answer.send(Err(Error::Disconnected(reason)));
        }
    }

    /// Nothing is taken any more, and nothing answered.
    pub(crate) fn close(&mut self) {
        self.is_joined = false;
        self.is_closed = true;
        self.queue = VecDeque::new();
        self.queued_bytes = 0;
        for (_, answer) in std::mem::take(&mut self.waiting) {
            let _ = answer.send(Err(Error::Closed));
        }
    }

    pub(crate) const fn is_joined(&self) -> bool {
        self.is_joined
    }

    pub(crate) fn has_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    pub(crate) const fn connection(&self) -> u64 {
        self.connection
    }

    fn retain(&mut self, keep: impl Fn(Kind) -> bool) {
        self.queue.retain(|packet| keep(packet.kind));
        self.queued_bytes = self.queue.iter().map(Packet::bytes).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(outbox: &mut Outbox) -> Vec<String> {
        std::iter::from_fn(|| outbox.pop()).map(|packet| packet.text).collect()
    }

    #[test]
    fn the_queue_has_an_end() {
        let mut outbox = Outbox::new();
        for _ in 0..BUFFERED_PACKETS_MAX {
            assert!(outbox.push_event("/", "x", &Args::none(), None).is_ok());
        }
        assert!(matches!(outbox.push_event("/", "x", &Args::none(), None), Err(Rejected::Full)));
        outbox.pop();
        let rest = Args::binary(vec![0; BUFFERED_BYTES_MAX - outbox.queued_bytes]);
        assert!(matches!(outbox.push_event("/", "x", &rest, None), Err(Rejected::Full)));
        let too_large = Args::binary(vec![0; BUFFERED_BYTES_MAX]);
        let rejected = outbox.push_event("/", "x", &too_large, None);
        assert!(matches!(rejected, Err(Rejected::For(Error::TooLarge { .. }))));
        texts(&mut outbox);
        assert_eq!(outbox.queued_bytes, 0);
    }

    #[test]
    fn an_event_that_nobody_waits_for_is_not_sent_later() {
        let mut outbox = Outbox::new();
        let (answer, _keep) = oneshot::channel();
        let id = outbox.push_event("/", "asked", &Args::none(), Some(answer)).ok().flatten().unwrap();
        assert!(outbox.push_event("/", "told", &Args::none(), None).is_ok());
        outbox.forget(id);
        assert_eq!(texts(&mut outbox), [r#"42["told"]"#]);
    }

    #[test]
    fn a_lost_connection_fails_what_was_sent_and_keeps_the_rest() {
        let mut outbox = Outbox::new();
        outbox.opened(100);
        let (sent, mut sent_answer) = oneshot::channel();
        let (kept, mut kept_answer) = oneshot::channel();
        assert!(outbox.push_event("/", "sent", &Args::none(), Some(sent)).is_ok());
        outbox.pop();
        assert!(outbox.push_event("/", "kept", &Args::none(), Some(kept)).is_ok());
        let connection = outbox.connection();
        assert!(outbox.push_reply("/", 7, connection, &Args::none()).is_ok());
        outbox.left(DisconnectReason::TransportClose);
        assert!(matches!(sent_answer.try_recv(), Ok(Err(Error::Disconnected(_)))));
        assert!(kept_answer.try_recv().is_err());
        assert!(outbox.push_reply("/", 8, connection, &Args::none()).is_err(), "a late reply");
        assert_eq!(texts(&mut outbox), [r#"421["kept"]"#]);
        outbox.answer(1, Args::none());
        assert!(matches!(kept_answer.try_recv(), Ok(Ok(_))));
    }

    #[test]
    fn what_no_receiver_takes_is_refused_here() {
        let mut outbox = Outbox::new();
        outbox.opened(20);
        let too_large = outbox.push_event("/", "x", &Args::binary(vec![0; 21]), None);
        assert!(matches!(too_large, Err(Rejected::For(Error::TooLarge { bytes: 21.., bytes_max: 20 }))));
        let reserved = outbox.push_event("/", "connect", &Args::none(), None);
        assert!(matches!(reserved, Err(Rejected::For(Error::ReservedEvent(_)))));
        let many = Args::from_raw("", vec![Bytes::new(); 11]);
        let many = outbox.push_event("/", "x", &many, None);
        assert!(matches!(many, Err(Rejected::For(Error::TooManyAttachments { count: 11, max: 10 }))));
    }
}
