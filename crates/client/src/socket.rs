//! The connected side as the application sees it.

use std::sync::Arc;
use std::time::Duration;

use idae_socket_protocol::socketio::Args;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::Error;
use crate::shared::{Alive, Shared, Status};

/// A connection to one namespace that survives the connections below it.
///
/// Cheap to clone; all clones are the same socket. Dropping the last one leaves the namespace and
/// ends the background task.
#[derive(Clone)]
pub struct Socket {
    alive: Arc<Alive>,
}

impl Socket {
    pub(crate) const fn new(alive: Arc<Alive>) -> Self {
        Self { alive }
    }

    fn shared(&self) -> &Shared {
        &self.alive.0
    }

    /// Sends an event. Returns when it is queued: waits while the queue is full and moving.
    ///
    /// While disconnected, events are kept and sent in order after the next connect, up to
    /// [`BUFFERED_PACKETS_MAX`](crate::BUFFERED_PACKETS_MAX) and
    /// [`BUFFERED_BYTES_MAX`](crate::BUFFERED_BYTES_MAX).
    ///
    /// # Errors
    /// [`Error::BufferFull`] while disconnected, [`Error::Closed`], or what is wrong with the event.
    pub async fn emit(&self, event: &str, args: &Args<'_>) -> Result<(), Error> {
        self.shared().emit(event, args).await
    }

    /// Like [`Socket::emit`], without waiting: for handlers and other code that cannot.
    ///
    /// # Errors
    /// As [`Socket::emit`], and [`Error::BufferFull`] while connected, too.
    pub fn try_emit(&self, event: &str, args: &Args<'_>) -> Result<(), Error> {
        self.shared().try_emit(event, args, None).map(|_| ())
    }

    /// Sends an event and waits for the server's acknowledgement, at most `timeout` in all: time spent
    /// disconnected counts. When the wait ends, by the clock or because the future is dropped, an
    /// event that was not sent yet never will be.
    ///
    /// # Errors
    /// [`Error::AckTimeout`]; [`Error::Disconnected`] when the connection was lost after the event was
    /// sent, so that nobody knows whether it arrived; otherwise as [`Socket::emit`].
    pub async fn emit_with_ack(
        &self,
        event: &str,
        args: &Args<'_>,
        timeout: Duration,
    ) -> Result<Args<'static>, Error> {
        let answered = async {
            let (id, answer) = self.shared().ask(event, args).await?;
            let _waiting = Waiting { shared: self.shared(), id };
            answer.await.unwrap_or(Err(Error::Closed))
        };
        tokio::time::timeout(timeout, answered).await.unwrap_or(Err(Error::AckTimeout))
    }

    /// The socket's id on the server while it is connected; a new connection has a new one, unless
    /// it was [recovered](Socket::was_recovered).
    pub fn id(&self) -> Option<Arc<str>> {
        match &*self.shared().status.borrow() {
            Status::Connected { id, .. } => Some(Arc::clone(id)),
            _ => None,
        }
    }

    /// Whether the namespace is joined.
    pub fn is_connected(&self) -> bool {
        matches!(&*self.shared().status.borrow(), Status::Connected { .. })
    }

    /// Whether it is connected, or going to be without anybody's help.
    pub fn is_active(&self) -> bool {
        matches!(&*self.shared().status.borrow(), Status::Connected { .. } | Status::Connecting)
    }

    /// Whether the present connection took the one before up again: nothing was missed in between,
    /// and the rooms are still joined.
    pub fn was_recovered(&self) -> bool {
        matches!(&*self.shared().status.borrow(), Status::Connected { recovered: true, .. })
    }

    /// Waits until the namespace is joined.
    ///
    /// # Errors
    /// Why it will not be, unless [`Socket::connect_again`] is called.
    pub async fn connected(&self) -> Result<(), Arc<Error>> {
        let mut status = self.shared().status.subscribe();
        let seen = status.wait_for(|status| !matches!(status, Status::Connecting)).await;
        match seen.as_deref() {
            Ok(Status::Connected { .. }) => Ok(()),
            Ok(Status::Inactive(error)) => Err(Arc::clone(error)),
            _ => Err(Arc::new(Error::Closed)),
        }
    }

    /// Waits until the driver has given up, and says why: the server refused or ended the connection,
    /// the attempts ran out, or the socket was closed.
    pub async fn inactive(&self) -> Arc<Error> {
        let mut status = self.shared().status.subscribe();
        let seen = status.wait_for(|status| matches!(status, Status::Inactive(_) | Status::Closed)).await;
        match seen.as_deref() {
            Ok(Status::Inactive(error)) => Arc::clone(error),
            _ => Arc::new(Error::Closed),
        }
    }

    /// Connects once more after the driver has given up, say with a new token. Does nothing while it
    /// is active.
    pub fn connect_again(&self) {
        self.shared().status.send_if_modified(|status| {
            let is_inactive = matches!(status, Status::Inactive(_));
            if is_inactive {
                *status = Status::Connecting;
            }
            is_inactive
        });
        self.shared().wake.notify_one();
    }

    /// Replaces the auth object that the next connection presents; the present one keeps its own.
    ///
    /// # Errors
    /// It is no JSON object.
    pub fn set_auth<T: Serialize + ?Sized>(&self, auth: &T) -> Result<(), Error> {
        *self.shared().auth.lock() = object(auth)?;
        Ok(())
    }

    /// Sets the token that the next connection presents, as `token` of the auth object.
    pub fn set_token(&self, token: impl Into<String>) {
        self.shared().auth.lock().insert("token".to_owned(), Value::String(token.into()));
    }

    /// Sends what is queued, leaves the namespace and ends the connection. Returns when that is done.
    pub async fn close(&self) {
        self.shared().leave();
        let mut status = self.shared().status.subscribe();
        // The sender lives in `shared`, so it cannot be gone.
        let _ = status.wait_for(|status| matches!(status, Status::Closed)).await;
    }
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket")
            .field("namespace", &self.shared().namespace)
            .field("status", &*self.shared().status.borrow())
            .finish()
    }
}

/// A value as the JSON object that CONNECT carries.
pub(crate) fn object<T: Serialize + ?Sized>(value: &T) -> Result<Map<String, Value>, Error> {
    match serde_json::to_value(value)? {
        Value::Object(object) => Ok(object),
        _ => Err(Error::Setting("the auth value is no JSON object".to_owned())),
    }
}

/// Somebody waits for an acknowledgement; dropped when nobody does any more.
struct Waiting<'a> {
    shared: &'a Shared,
    id: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.outbox.lock().forget(self.id);
        self.shared.made_room();
    }
}
