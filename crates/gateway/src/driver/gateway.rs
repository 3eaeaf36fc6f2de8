//! A gateway that runs.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::selection::Selection;
use super::threads::Threads;
use crate::config::Config;
use crate::error::Error;
use crate::listen::Router;
use crate::places::Places;

/// How long connections have to end by themselves when the gateway stops.
const LEAVE_TIME_MAX: Duration = Duration::from_secs(3);

/// A running gateway. Dropping it ends it at once; [`Gateway::stop`] and [`Gateway::stop_now`] say goodbye first.
#[must_use = "a gateway ends when it is dropped"]
pub struct Gateway {
    config: Config,
    addresses: Vec<SocketAddr>,
    router: Arc<Router>,
    connections: Arc<Places>,
    threads: Option<Threads>,
    accepting: Vec<JoinHandle<io::Result<()>>>,
    stopping: watch::Sender<bool>,
}

impl Gateway {
    pub(super) fn new(
        config: Config,
        addresses: Vec<SocketAddr>,
        router: Arc<Router>,
        connections: Arc<Places>,
        threads: Threads,
        accepting: Vec<JoinHandle<io::Result<()>>>,
        stopping: watch::Sender<bool>,
    ) -> Self {
        Self { config, addresses, router, connections, threads: Some(threads), accepting, stopping }
    }

    /// The addresses it listens on; the first is that of the configured host.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where clients and backends reach it, such as `http://127.0.0.1:4000`.
    pub fn url(&self) -> String {
        match self.addresses.first() {
            Some(address) if address.ip().is_unspecified() => format!("http://localhost:{}", address.port()),
            Some(address) => format!("http://{address}"),
            None => String::new(),
        }
    }

    /// The configuration it runs with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Sends an event to every socket in a room of the namespace `/`. The payload is the event's
    /// one argument. Returns how many sockets got it.
    ///
    /// # Errors
    /// The event's name is not allowed, or the payload cannot be written as JSON.
    pub async fn to_room<P: Serialize + ?Sized>(
        &self,
        room: &str,
        event: &str,
        payload: &P,
    ) -> Result<usize, Error> {
        self.select().room(room).emit(event, payload).await
    }

    /// Sends an event to every socket of a user, or to one socket by its id.
    ///
    /// # Errors
    /// The event's name is not allowed, or the payload cannot be written as JSON.
    pub async fn to_user<P: Serialize + ?Sized>(
        &self,
        user: &str,
        event: &str,
        payload: &P,
    ) -> Result<usize, Error> {
        self.select().user(user).emit(event, payload).await
    }

    /// Sends an event to every socket.
    ///
    /// # Errors
    /// The event's name is not allowed, or the payload cannot be written as JSON.
    pub async fn to_all<P: Serialize + ?Sized>(&self, event: &str, payload: &P) -> Result<usize, Error> {
        self.select().everyone().emit(event, payload).await
    }

    /// Begins to name sockets: rooms, users, exceptions, another namespace.
    pub fn select(&self) -> Selection<'_> {
        Selection::new(&self.router)
    }

    /// Resolves when the gateway cannot accept connections any more, which is never in good health.
    pub async fn run(mut self) {
        for accepting in &mut self.accepting {
            if let Ok(Err(error)) = accepting.await {
                tracing::error!(%error, "cannot accept connections");
            }
        }
    }

    /// Stops: nothing new is taken on, requests in flight are finished, sockets are closed so that clients come
    /// back to whoever listens then. They are told so one after the other, over `drain_s`.
    pub async fn stop(self) {
        let over = Duration::from_secs(self.config.drain_s);
        self.end(over).await;
    }

    /// Stops as [`stop`](Self::stop) does, but tells all sockets at once.
    pub async fn stop_now(self) {
        self.end(Duration::ZERO).await;
    }

    async fn end(mut self, over: Duration) {
        // Still listening: who comes now is told, and told when to come back.
        self.router.backend.drain();
        self.stopping.send_replace(true);
        self.router.sockets.drain(over).await;
        // Whoever takes longer is cut off with the threads.
        let _ = tokio::time::timeout(LEAVE_TIME_MAX, self.connections.emptied()).await;
        for accepting in &self.accepting {
            accepting.abort();
        }
        if let Some(threads) = self.threads.take() {
            // Joining threads blocks, which no task of the caller's runtime should do.
            let _ = tokio::task::spawn_blocking(move || threads.stop()).await;
        }
    }
}
