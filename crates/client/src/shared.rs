//! What the background task and the sockets have in common.

use std::sync::Arc;

use idae_socket_protocol::socketio::Args;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::sync::{Notify, oneshot, watch};

use crate::outbox::{Answer, Outbox, Rejected};
use crate::{DisconnectReason, Error};

/// Where the driver stands.
#[derive(Debug, Clone)]
pub(crate) enum Status {
    /// Connecting, or pausing before it does.
    Connecting,
    /// In the namespace.
    Connected { id: Arc<str>, recovered: bool },
    /// Neither, until somebody asks for it.
    Inactive(Arc<Error>),
    /// The task is gone.
    Closed,
}

/// One driver's state. The lock is held for a few map operations, never across an await.
pub(crate) struct Shared {
    pub(crate) namespace: String,
    pub(crate) outbox: Mutex<Outbox>,
    pub(crate) auth: Mutex<Map<String, Value>>,
    pub(crate) status: watch::Sender<Status>,
    /// Tells the task that there is something to send, or that somebody wants it to stop.
    pub(crate) wake: Notify,
    /// Tells emitters that there may be room.
    room: Notify,
    is_leaving: std::sync::atomic::AtomicBool,
}

impl Shared {
    pub(crate) fn new(namespace: String, auth: Map<String, Value>) -> Self {
        Self {
            namespace,
            outbox: Mutex::new(Outbox::new()),
            auth: Mutex::new(auth),
            status: watch::Sender::new(Status::Connecting),
            wake: Notify::new(),
            room: Notify::new(),
            is_leaving: false.into(),
        }
    }

    /// Queues an event, or says at once why not.
    pub(crate) fn try_emit(
        &self,
        name: &str,
        args: &Args<'_>,
        answer: Option<oneshot::Sender<Answer>>,
    ) -> Result<Option<u64>, Error> {
        let pushed = self.outbox.lock().push_event(&self.namespace, name, args, answer);
        self.pushed(pushed)
    }

    /// Queues an event; while connected it waits for room.
    pub(crate) async fn emit(&self, name: &str, args: &Args<'_>) -> Result<(), Error> {
        self.when_room(|outbox| outbox.push_event(&self.namespace, name, args, None).map(|_| ())).await
    }

    /// Queues an event that asks for an acknowledgement; while connected it waits for room.
    pub(crate) async fn ask(
        &self,
        name: &str,
        args: &Args<'_>,
    ) -> Result<(u64, oneshot::Receiver<Answer>), Error> {
        self.when_room(|outbox| {
            let (answer, receiver) = oneshot::channel();
            let id = outbox.push_event(&self.namespace, name, args, Some(answer))?;
            Ok((id.unwrap_or_default(), receiver))
        })
        .await
    }

    /// Queues a reply to an event that came on `connection`.
    pub(crate) fn reply(&self, id: u64, connection: u64, args: &Args<'_>) -> Result<(), Error> {
        let pushed = self.outbox.lock().push_reply(&self.namespace, id, connection, args);
        self.pushed(pushed)
    }

    fn pushed<T>(&self, pushed: Result<T, Rejected>) -> Result<T, Error> {
        match pushed {
            Ok(done) => {
                self.wake.notify_one();
                Ok(done)
            }
            Err(Rejected::For(error)) => Err(error),
            Err(Rejected::Full) => Err(Error::BufferFull),
        }
    }

    async fn when_room<T>(
        &self,
        mut push: impl FnMut(&mut Outbox) -> Result<T, Rejected>,
    ) -> Result<T, Error> {
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            // Listening before looking: room made in between would otherwise be missed.
            room.as_mut().enable();
            let (pushed, is_joined) = {
                let mut outbox = self.outbox.lock();
                (push(&mut outbox), outbox.is_joined())
            };
            match pushed {
                Err(Rejected::Full) if is_joined => room.await,
                other => return self.pushed(other),
            }
        }
    }

    pub(crate) fn made_room(&self) {
        self.room.notify_waiters();
    }

    pub(crate) fn joined(&self, id: &str, recovered: bool) {
        self.outbox.lock().joined();
        self.status.send_replace(Status::Connected { id: id.into(), recovered });
    }

    /// Not connected any more. The status follows when it is known how it goes on.
    pub(crate) fn left(&self, reason: DisconnectReason) {
        self.outbox.lock().left(reason);
        self.made_room();
    }

    /// The task ends.
    pub(crate) fn closed(&self) {
        self.outbox.lock().close();
        self.status.send_replace(Status::Closed);
        self.made_room();
    }

    /// Asks the task to leave the namespace and end.
    pub(crate) fn leave(&self) {
        self.is_leaving.store(true, std::sync::atomic::Ordering::Release);
        self.wake.notify_one();
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.is_leaving.load(std::sync::atomic::Ordering::Acquire)
    }
}

/// Held by every [`Socket`](crate::Socket) and by nobody else: when the last one goes, so does the task.
pub(crate) struct Alive(pub(crate) Arc<Shared>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.leave();
    }
}
