//! A hybrid HTTP/Socket.IO gateway: a backend in any language makes one POST, and every stock
//! Socket.IO v4 client in the named rooms receives the event.
//!
//! [`HttpDriver`] is the server. It is configured by [`config::Config`], runs on threads of its
//! own, and can be embedded: handlers for client events, publishing in process, port 0 and
//! [`Gateway::stop`] for tests.
//!
//! Invariants
//! * The library reads no environment variable and no file that it was not given.
//! * Two gateways in one process do not meet.
#![forbid(unsafe_code)]

mod auth;
mod backend;
mod body;
pub mod config;
mod console;
mod driver;
mod error;
mod history;
mod hub;
mod listen;
mod observe;
mod outbound;
mod patience;
mod places;
mod publish;
mod recent;
pub mod rules;
mod sockets;

pub use auth::{Identity, Refusal, RefusalCode, Signer};
pub use driver::{Answers, Gateway, HttpDriver, Judgement, Selection};
pub use error::Error;
pub use idae_socket_protocol::engineio::Message;
pub use idae_socket_protocol::socketio::Args;
pub use sockets::{EmitError, IntoAck, Opening, RawSocket, Socket};
