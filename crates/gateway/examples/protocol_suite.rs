//! A server for the official Engine.IO and Socket.IO protocol suites: `protocol_suite --port N`.
//!
//! `/engine.io/` echoes each message in its type. `/socket.io/` with the namespaces `/` and
//! `/custom` emits `auth` with the handshake's auth object on connection, answers `message` with
//! `message-back`, and acknowledges `message-with-ack`, each with the same arguments. Besides, a client
//! that sends `leave` is taken out of its namespace, and one that sends `close` out of all of them.

use idae_socket::config::Config;
use idae_socket::{Args, HttpDriver, Message, RawSocket, Socket};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::read()?;
    HttpDriver::with_config(config(&arguments))
        .engine_io("/engine.io/", echo)
        .on_connect(|socket: Socket, auth: &str| {
            socket.emit("auth", &Args::from_raw(auth.to_owned(), Vec::new()));
        })
        .on("message", |socket: Socket, args: Args<'static>| async move {
            socket.emit("message-back", &args);
        })
        .on("leave", |socket: Socket, _: Args<'static>| async move { socket.disconnect() })
        .on("close", |socket: Socket, _: Args<'static>| async move { socket.close() })
        .on("message-with-ack", |_: Socket, args: Args<'static>| async move { args })
        .listen(arguments.port)
        .await?;
    Ok(())
}

fn echo(socket: &RawSocket, message: Message<'_>) {
    match message {
        Message::Text(text) => socket.send_text(text),
        Message::Binary(bytes) => socket.send_binary(bytes.into_owned()),
    }
}

/// What the suites expect of the server, with the heartbeat that was asked for.
fn config(arguments: &Arguments) -> Config {
    let mut config = Config { namespaces: vec!["/".to_owned(), "/custom".to_owned()], ..Config::default() };
    config.socket.ping_interval_ms = arguments.ping_interval_ms;
    config.socket.ping_timeout_ms = arguments.ping_timeout_ms;
    config.socket.payload_bytes_max = 1_000_000;
    config.socket.connect_timeout_ms = 1_000;
    // The suites compare packets to the last byte, and know of no pid and no offset.
    config.recovery.window_s = 0;
    config
}

struct Arguments {
    port: u16,
    ping_interval_ms: u64,
    ping_timeout_ms: u64,
}

impl Arguments {
    fn read() -> Result<Self, Box<dyn std::error::Error>> {
        const USAGE: &str = "usage: protocol_suite --port N [--ping-interval-ms N] [--ping-timeout-ms N]";
        let mut read = Self { port: 0, ping_interval_ms: 300, ping_timeout_ms: 200 };
        let mut arguments = std::env::args().skip(1);
        while let Some(flag) = arguments.next() {
            let value = arguments.next().ok_or(USAGE)?;
            match flag.as_str() {
                "--port" => read.port = value.parse()?,
                "--ping-interval-ms" => read.ping_interval_ms = value.parse()?,
                "--ping-timeout-ms" => read.ping_timeout_ms = value.parse()?,
                _ => return Err(USAGE.into()),
            }
        }
        if read.port == 0 { Err(USAGE.into()) } else { Ok(read) }
    }
}
