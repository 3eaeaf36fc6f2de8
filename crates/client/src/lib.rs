//! A Socket.IO v4 client: connects, authenticates, reconnects, resumes.
//!
//! [`SocketDriver`] says where to connect, as whom, and what to do with the events; connecting it
//! gives a [`Socket`] to emit with. One background task per driver owns the connection, calls the
//! handlers in the order in which events arrive, and comes back with growing pauses when the
//! connection is lost.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use idae_socket_client::{Args, SocketDriver};
//!
//! # async fn example() -> Result<(), idae_socket_client::Error> {
//! let socket = SocketDriver::new("http://127.0.0.1:4000")
//!     .token("a token of your backend")
//!     .on("db-change", |args: Args<'static>| println!("{}", args.items()))
//!     .connect()
//!     .await?;
//!
//! let room = Args::one("public:news")?;
//! let answer = socket.emit_with_ack("subscribe", &room, Duration::from_secs(5)).await?;
//! println!("subscribed: {}", answer.items());
//! # Ok(())
//! # }
//! ```
//!
//! The transport is WebSocket from the first byte, so a load balancer needs no sticky sessions.
//! HTTP proxies are not used. A driver is in one namespace; for several, connect several drivers.
//!
//! Invariants
//! * Handlers run one at a time, in the order of arrival, on the driver's task.
//! * Every queue is bounded: see [`BUFFERED_BYTES_MAX`] and [`BUFFERED_PACKETS_MAX`].
//! * Dropping the last [`Socket`] ends the task and leaves the namespace.
#![forbid(unsafe_code)]

mod address;
mod backoff;
mod driver;
mod error;
mod handlers;
mod handshake;
mod outbox;
mod session;
mod shared;
mod socket;
#[cfg(feature = "tls")]
mod tls;
mod wire;
mod worker;

pub use backoff::Backoff;
pub use driver::SocketDriver;
pub use error::{DisconnectReason, Error};
pub use handlers::{Connected, Reply};
pub use idae_socket_protocol::socketio::Args;
pub use outbox::{BUFFERED_BYTES_MAX, BUFFERED_PACKETS_MAX};
pub use session::MESSAGE_BYTES_MAX;
pub use socket::Socket;
