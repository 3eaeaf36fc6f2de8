//! What the application does with what happens. All handlers run on the driver's task, one at a time.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use idae_socket_protocol::socketio::Args;

use crate::shared::Shared;
use crate::{DisconnectReason, Error, Socket};

/// What a handler learns when the namespace was joined.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Connected {
    /// The socket's id on the server.
    pub id: Arc<str>,
    /// Whether the connection before was taken up again. If not, events may have been missed and no
    /// room is joined: this is the place to subscribe again.
    pub recovered: bool,
    /// For what has to be sent now; handlers use [`Socket::try_emit`], or spawn a task. A handler that
    /// keeps it keeps the driver alive.
    pub socket: Socket,
}

/// The acknowledgement that the server waits for; it may be sent from anywhere, once.
#[derive(Debug)]
pub struct Reply {
    to: Option<(u64, u64)>,
    shared: Weak<Shared>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl Reply {
    /// Whether the server asked for an acknowledgement. Without, sending one does nothing.
    pub const fn is_wanted(&self) -> bool {
        self.to.is_some()
    }

    /// Acknowledges the event.
    ///
    /// # Errors
    /// The connection on which the event came is gone, or the queue is full.
    pub fn send(self, args: &Args<'_>) -> Result<(), Error> {
        let Some((id, connection)) = self.to else { return Ok(()) };
        self.shared.upgrade().ok_or(Error::Closed)?.reply(id, connection, args)
    }
}

type OnEvent = Box<dyn FnMut(Args<'static>) + Send>;
type OnEventWithAck = Box<dyn FnMut(Args<'static>) -> Args<'static> + Send>;
type OnEventWithReply = Box<dyn FnMut(Args<'static>, Reply) + Send>;
type OnAny = Box<dyn FnMut(&str, &Args<'static>) + Send>;
type OnConnect = Box<dyn FnMut(Connected) + Send>;
type OnDisconnect = Box<dyn FnMut(DisconnectReason) + Send>;
type OnConnectError = Box<dyn FnMut(&Error) + Send>;

pub(crate) enum Handler {
    Plain(OnEvent),
    WithAck(OnEventWithAck),
    WithReply(OnEventWithReply),
}

/// Every handler of a driver, in the order of registration.
#[derive(Default)]
pub(crate) struct Handlers {
    pub(crate) events: HashMap<String, Vec<Handler>>,
    pub(crate) any: Vec<OnAny>,
    pub(crate) connect: Vec<OnConnect>,
    pub(crate) disconnect: Vec<OnDisconnect>,
    pub(crate) connect_error: Vec<OnConnectError>,
}

impl Handlers {
    /// Hands an event on: first to those who want any, then to those who want this one.
    ///
    /// Returns the acknowledgement that is to be sent now. One event has one: the first handler that
    /// gives one, or may give one later, keeps the others from it.
    pub(crate) fn event(
        &mut self,
        name: &str,
        args: Args<'static>,
        id: Option<u64>,
        shared: &Arc<Shared>,
    ) -> Option<Args<'static>> {
        for any in &mut self.any {
            any(name, &args);
        }
        let handlers = self.events.get_mut(name)?;
        let mut answer = None;
        let mut to = id.map(|id| (id, shared.outbox.lock().connection()));
        let last = handlers.len().saturating_sub(1);
        let mut args = Some(args);
        for (index, handler) in handlers.iter_mut().enumerate() {
            let given = if index == last { args.take() } else { args.clone() };
            let given = given.unwrap_or_default();
            match handler {
                Handler::Plain(call) => call(given),
                Handler::WithAck(call) => {
                    let given_back = call(given);
                    if to.take().is_some() {
                        answer = Some(given_back);
                    }
                }
                Handler::WithReply(call) => {
                    call(given, Reply { to: to.take(), shared: Arc::downgrade(shared) });
                }
            }
        }
        answer
    }

    pub(crate) fn connected(&mut self, connected: &Connected) {
        for handler in &mut self.connect {
            handler(connected.clone());
        }
    }

    pub(crate) fn disconnected(&mut self, reason: DisconnectReason) {
        for handler in &mut self.disconnect {
            handler(reason);
        }
    }

    pub(crate) fn connect_failed(&mut self, error: &Error) {
        for handler in &mut self.connect_error {
            handler(error);
        }
    }
}
