//! The gateway's job with socketioxide and axum: `idae-socket-peer-socketioxide PORT`.

use std::convert::Infallible;

use axum::extract::{Path, State};
use axum::routing::post;
use axum::serve::ListenerExt as _;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use socketioxide::SocketIo;
use socketioxide::extract::{AckSender, Data, SocketRef};
use socketioxide::handler::ConnectHandler as _;

#[derive(Serialize, Deserialize)]
struct Event {
    rooms: Vec<String>,
    // Not read, so not made a tree of.
    payload: Box<RawValue>,
}

#[derive(Serialize)]
struct Answer {
    ok: bool,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = std::env::args().nth(1).ok_or("which port?")?.parse()?;
    // Of 128 packets, the default, a socket loses most of an overload, and the other peers lose nothing.
    let (layer, io) = SocketIo::builder().max_buffer_size(65_536).build_layer();
    io.ns("/", connected.with(listen));
    let app = Router::new().route("/{event}", post(publish)).with_state(io).layer(layer);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    // Without this a small message waits for the acknowledgement of the one before.
    let listener = listener.tap_io(|stream| _ = stream.set_nodelay(true));
    Ok(axum::serve(listener, app).await?)
}

/// Registers what clients may ask for. This is a middleware because a connect handler runs beside the answer to
/// CONNECT: a client that is quick would have asked before anybody listens.
async fn listen(socket: SocketRef) -> Result<(), Infallible> {
    socket.on("subscribe", async |socket: SocketRef, Data::<Vec<String>>(rooms), ack: AckSender| {
        socket.join(rooms);
        let _ = ack.send(&Answer { ok: true });
    });
    Ok(())
}

async fn connected() {}

async fn publish(
    State(io): State<SocketIo>,
    Path(name): Path<String>,
    Json(event): Json<Event>,
) -> Json<Answer> {
    let rooms = event.rooms.clone();
    // An error is about single sockets that have gone.
    let _ = io.to(rooms).emit(name, &event).await;
    Json(Answer { ok: true })
}
