//! Sockets of a running gateway, named by where they are, and what can be done with all of them.

use std::time::Duration;

use idae_socket_protocol::socketio::Args;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::error::Error;
use crate::hub::Target;
use crate::listen::Router;
use crate::publish::{Event, InFlight};
use crate::sockets::Socket;

/// Sockets of one namespace: a union of rooms, users or everyone, less exceptions. Each socket is meant
/// once, however often it is named. Without any name nobody is.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), idae_socket::Error> {
/// # let gateway = idae_socket::HttpDriver::new().start(0).await?;
/// let told = gateway.select().room("staff").user("42").except("night-shift").emit("shift", &"early").await?;
/// assert_eq!(told, 0);
/// # gateway.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a selection does nothing by itself"]
pub struct Selection<'a> {
    router: &'a Router,
    target: Target,
    volatile: bool,
}

/// What clients answered to an event.
#[derive(Debug, Clone)]
pub struct Answers {
    /// The answers that came, in the order in which they came.
    pub answers: Vec<Args<'static>>,
    /// How many sockets did not answer in time, or went away.
    pub missing: usize,
}

impl<'a> Selection<'a> {
    pub(super) fn new(router: &'a Router) -> Self {
        let target = Target { namespace: "/".into(), ..Target::default() };
        Self { router, target, volatile: false }
    }

    /// The sockets of another namespace than `/`.
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.target.namespace = namespace.to_owned().into();
        self
    }

    /// And every socket in this room.
    pub fn room(mut self, room: &str) -> Self {
        self.target.rooms.push(room.to_owned());
        self
    }

    /// And every socket of this user, or the socket of this id.
    pub fn user(mut self, user: &str) -> Self {
        self.target.users.push(user.to_owned());
        self
    }

    /// Every socket of the namespace.
    pub fn everyone(mut self) -> Self {
        self.target.everyone = true;
        self
    }

    /// But no socket that is in this room or has this id.
    pub fn except(mut self, room: &str) -> Self {
        self.target.except.push(room.to_owned());
        self
    }

    /// What is emitted may be dropped for a socket that cannot take it now.
    pub fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// Sends an event; the payload is its one argument. Returns how many sockets got it.
    ///
    /// # Errors
    /// The event's name is not allowed, or the payload cannot be written as JSON.
    pub async fn emit<P: Serialize + ?Sized>(self, event: &str, payload: &P) -> Result<usize, Error> {
        let Self { router, target, volatile } = self;
        router.backend.check_event(event).map_err(|refused| Error::Event(refused.to_string()))?;
        let payload = serde_json::to_string(payload).map_err(Error::Payload)?;
        let event = Event { name: event, argument: &[&payload], target, volatile, id: None };
        match router.backend.road().publish(event) {
            Ok(publication) => Ok(publication.receipt(None).await.sockets),
            // Which needs an id.
            Err(InFlight) => Ok(0),
        }
    }

    /// Sends an event and waits until every socket has answered, or `timeout` is over.
    pub async fn emit_with_ack(&self, event: &str, args: &Args<'_>, timeout: Duration) -> Answers {
        let mut asking = JoinSet::new();
        for socket in self.sockets() {
            let (event, args) = (event.to_owned(), args.clone().into_owned());
            asking.spawn(async move { socket.emit_with_ack(&event, &args, timeout).await.ok() });
        }
        let mut answers = Answers { answers: Vec::with_capacity(asking.len()), missing: 0 };
        while let Some(answer) = asking.join_next().await {
            match answer.ok().flatten() {
                Some(args) => answers.answers.push(args),
                None => answers.missing += 1,
            }
        }
        answers
    }

    /// The sockets that are meant, as they are now. Looks at every session of the gateway.
    pub fn sockets(&self) -> Vec<Socket> {
        self.router.sockets.select(&self.target)
    }

    /// Puts every socket into a room. Returns how many are in it now: one that has
    /// `socket.rooms_max` rooms already does not get another.
    pub fn join(&self, room: &str) -> usize {
        self.sockets().iter().filter(|socket| socket.join(room)).count()
    }

    /// Takes every socket out of a room.
    pub fn leave(&self, room: &str) {
        self.sockets().iter().for_each(|socket| socket.leave(room));
    }

    /// Takes every socket out of the namespace. They stay away, as after [`Socket::disconnect`].
    pub fn disconnect(&self) {
        self.sockets().iter().for_each(Socket::disconnect);
    }

    /// Closes the connection of every socket, with all its namespaces. They stay away.
    pub fn close(&self) {
        self.sockets().iter().for_each(Socket::close);
    }
}
