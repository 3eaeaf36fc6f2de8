//! A path at which Engine.IO is spoken, and what is spoken on top of it.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use idae_socket_protocol::engineio::{self, Message};
use idae_socket_protocol::websocket::Frame;

use super::{Session, Sockets};

/// A path with Engine.IO behind it.
pub(crate) struct Endpoint {
    /// Begins and ends with `/`. Every request target that begins so belongs here.
    pub(crate) path: String,
    pub(crate) settings: engineio::Settings,
    pub(crate) application: Application,
}

/// What the messages of a session mean.
#[derive(Clone)]
pub(crate) enum Application {
    SocketIo,
    /// An embedder takes the messages as they are.
    Raw(RawHandler),
}

pub(crate) type RawHandler = Arc<dyn Fn(&RawSocket, Message<'_>) + Send + Sync>;

/// A client of a plain Engine.IO endpoint.
pub struct RawSocket {
    session: Weak<Session>,
    bytes_max: usize,
}

impl RawSocket {
    pub(super) fn new(session: &Arc<Session>, sockets: &Sockets) -> Self {
        Self { session: Arc::downgrade(session), bytes_max: sockets.hub.limits().outbox_bytes_max }
    }

    /// Sends a text message.
    pub fn send_text(&self, text: &str) {
        self.send(Frame::text_from_parts(["4", text]));
    }

    /// Sends a binary message.
    pub fn send_binary(&self, bytes: impl Into<Bytes>) {
        if let Some(session) = self.session.upgrade() {
            self.send(session.binary(&bytes.into()));
        }
    }

    fn send(&self, frame: Frame) {
        if let Some(session) = self.session.upgrade() {
            session.outbox.push(frame, self.bytes_max);
            session.outbox.flush();
        }
    }
}
