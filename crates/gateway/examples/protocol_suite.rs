//! A server for the official Engine.IO and Socket.IO protocol suites: `protocol_suite --port N`.
//!
//! `/engine.io/` echoes each message in its type. `/socket.io/` with the namespaces `/` and
//! `/custom` emits `auth` with the handshake's auth object on connection, answers `message` with
//! `message-back`, and acknowledges `message-with-ack`, each with the same arguments.

use idae_socket::config::Config;
use idae_socket::{Args, HttpDriver, Message, RawSocket, Socket};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    HttpDriver::with_config(config())
        .engine_io("/engine.io/", echo)
        .on_connect(|socket: Socket, auth: &str| {
            socket.emit("auth", &Args::from_raw(auth.to_owned(), Vec::new()));
        })
        .on("message", |socket: Socket, args: Args<'static>| async move {
            socket.emit("message-back", &args);
        })
        .on("message-with-ack", |_: Socket, args: Args<'static>| async move { args })
        .listen(port()?)
        .await?;
    Ok(())
}

fn echo(socket: &RawSocket, message: Message<'_>) {
    match message {
        Message::Text(text) => socket.send_text(text),
        Message::Binary(bytes) => socket.send_binary(bytes.into_owned()),
    }
}

/// What the suites expect of the server.
fn config() -> Config {
    let mut config = Config { namespaces: vec!["/".to_owned(), "/custom".to_owned()], ..Config::default() };
    config.socket.ping_interval_ms = 300;
    config.socket.ping_timeout_ms = 200;
    config.socket.payload_bytes_max = 1_000_000;
    config.socket.connect_timeout_ms = 1_000;
    config
}

fn port() -> Result<u16, Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (Some("--port"), Some(port)) => Ok(port.parse()?),
        _ => Err("usage: protocol_suite --port N".into()),
    }
}
