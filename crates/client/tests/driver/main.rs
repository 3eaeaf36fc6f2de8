//! The driver against a scripted server: what goes over the wire, and what the application sees.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod connecting;
mod events;
mod reconnecting;
mod recovery;
#[path = "../server/mod.rs"]
mod server;
#[cfg(feature = "tls")]
mod tls;

use std::time::Duration;

use idae_socket_client::{Backoff, SocketDriver};
use tokio::sync::mpsc;

use server::Server;

/// A test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// A driver that comes back quickly.
fn driver(server: &Server) -> SocketDriver {
    SocketDriver::new(server.address()).reconnect(Backoff {
        first: Duration::from_millis(5),
        max: Duration::from_millis(20),
        ..Backoff::default()
    })
}

/// What handlers tell a test, in order.
fn log() -> (Log, mpsc::UnboundedReceiver<String>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Log(sender), receiver)
}

#[derive(Clone)]
struct Log(mpsc::UnboundedSender<String>);

impl Log {
    fn say(&self, text: impl Into<String>) {
        let _ = self.0.send(text.into());
    }
}

async fn next(receiver: &mut mpsc::UnboundedReceiver<String>) -> String {
    tokio::time::timeout(PATIENCE, receiver.recv()).await.expect("nothing was said").expect("nobody left")
}
