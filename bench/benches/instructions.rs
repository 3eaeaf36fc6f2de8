//! Guards: how many instructions a message and a delivery may take. They are counted by Valgrind, so neither other
//! programs nor a slow day change them; a limit is some 15 % above what was counted. Memory has its own guard in
//! `crates/gateway/tests/memory.rs`.
//!
//! `cargo bench --profile conformance -p idae-socket-bench --bench instructions` needs `valgrind` and
//! `gungraun-runner`. The limits hold for x86-64.
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]
#![allow(missing_docs, unused_qualifications, reason = "what the macros make")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use gungraun::prelude::*;
use gungraun::{Callgrind, EventKind};
use idae_socket::{Args, Gateway, HttpDriver};
use idae_socket_client::{Socket, SocketDriver};
use idae_socket_protocol::engineio::Packet;
use idae_socket_protocol::socketio::{self, Connection, Parsers};
use idae_socket_protocol::websocket::{Decoder, Frame, Input, Limits, Opcode, Role, encode_masked};
use tokio::runtime::{Builder, Runtime};

fn at_most(instructions: u64) -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::default();
    if cfg!(target_arch = "x86_64") {
        callgrind.hard_limits([(EventKind::Ir, instructions)]);
    }
    LibraryBenchmarkConfig::default().tool(callgrind).clone()
}

/// An event of a client with this many bytes of text.
fn event(bytes: usize) -> String {
    format!(r#"4217["db-change",{{"entity":"users","text":"{}"}}]"#, "x".repeat(bytes))
}

fn wire(bytes: usize) -> Vec<u8> {
    let mut wire = Vec::new();
    encode_masked(Opcode::Text, event(bytes).as_bytes(), [1, 2, 3, 4], &mut wire);
    wire
}

#[library_benchmark]
#[bench::short(args = [64], setup = wire, config = at_most(1_100))]
#[bench::long(args = [65_536], setup = wire, config = at_most(33_000))]
fn frame_in(mut wire: Vec<u8>) -> bool {
    let mut decoder =
        Decoder::new(Role::Server, Limits { message_bytes_max: 1_000_000, fragments_max: 4096 });
    black_box(decoder.next(&mut Input::new(&mut wire)).is_ok())
}

#[library_benchmark]
#[bench::short(args = [64], setup = event, config = at_most(2_900))]
#[bench::long(args = [65_536], setup = event, config = at_most(182_000))]
fn packet_in(text: String) -> bool {
    black_box(Packet::decode(&text).is_ok()) && black_box(socketio::decode(&text[1..]).is_ok())
}

/// An event of a client with bytes, whose placeholders have to be found among so many objects.
fn binary(objects: usize) -> String {
    let objects = r#"{"id":1,"name":"x"},"#.repeat(objects);
    format!(r#"51-17["db-change",{objects}{{"_placeholder":true,"num":0}}]"#)
}

#[library_benchmark]
#[bench::objects(args = [1_000], setup = binary, config = at_most(2_230_000))]
fn binary_in(text: String) -> bool {
    black_box(socketio::decode(&text).is_ok())
}

#[library_benchmark]
#[bench::short(args = [64], setup = event, config = at_most(1_150))]
fn event_out(payload: String) -> Frame {
    Frame::text_from_parts(["42", "", "[\"", "db-change", "\",", black_box(&payload), "]"])
}

/// An event with so many objects.
fn objects(count: usize) -> String {
    format!(r#"42["db-change",[{}0]]"#, r#"{"id":1,"name":"x"},"#.repeat(count))
}

#[library_benchmark]
#[bench::short(args = [64], setup = event, config = at_most(9_000))]
#[bench::long(args = [65_536], setup = event, config = at_most(210_000))]
#[bench::objects(args = [1_000], setup = objects, config = at_most(4_030_000))]
fn repacked(message: String) -> Vec<u8> {
    socketio::repack(black_box(&message), &[])
}

/// A connection that speaks msgpack, and an event for it.
fn packed(text: String) -> (Connection, Vec<u8>) {
    let mut connection = Connection::default();
    let connect = connection.binary(&socketio::repack("40", &[]), &READ, Instant::now());
    assert!(connect.is_ok());
    connection.accept("/");
    (connection, socketio::repack(&text, &[]))
}

const READ: socketio::Limits = socketio::Limits {
    parsers: Parsers { json: false, msgpack: true },
    namespaces_max: 1,
    auth_bytes_max: 100,
    attachments_bytes_max: 1_000_000,
};

#[library_benchmark]
#[bench::short(args = [event(64)], setup = packed, config = at_most(9_000))]
#[bench::long(args = [event(65_536)], setup = packed, config = at_most(905_000))]
#[bench::objects(args = [objects(1_000)], setup = packed, config = at_most(2_400_000))]
fn packed_in((mut connection, message): (Connection, Vec<u8>)) -> bool {
    black_box(connection.binary(&message, &READ, Instant::now()).is_ok())
}

/// A room with clients in it.
struct Room {
    /// Where the clients run, which is not where is counted.
    clients: Runtime,
    members: Vec<Socket>,
    publisher: Runtime,
    gateway: Gateway,
}

/// Rooms of up to 32 members are written to by the publisher's own thread, the one that is counted.
fn room(members: usize) -> Room {
    let clients = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let publisher = Builder::new_current_thread().enable_all().build().unwrap();
    let gateway = clients.block_on(HttpDriver::new().start(0)).unwrap();
    let join = async || {
        let socket = SocketDriver::new(gateway.url()).connect().await.unwrap();
        let room = Args::one("room").unwrap();
        socket.emit_with_ack("subscribe", &room, Duration::from_secs(60)).await.unwrap();
        socket
    };
    let members = (0..members).map(|_| clients.block_on(join())).collect();
    let room = Room { clients, members, publisher, gateway };
    // The first event makes what the others find.
    publish(&room);
    room
}

fn publish(room: &Room) -> usize {
    let event = room.gateway.to_room("room", "db-change", black_box("some text that has changed"));
    room.publisher.block_on(event).unwrap()
}

fn close(room: Room) {
    assert_eq!(publish(&room), room.members.len());
    room.clients.block_on(room.gateway.stop_now());
}

#[library_benchmark]
#[bench::to_one(args = [1], setup = room, teardown = close, config = at_most(12_700))]
#[bench::to_32(args = [32], setup = room, teardown = close, config = at_most(30_500))]
fn delivery(room: Room) -> Room {
    black_box(publish(&room));
    room
}

library_benchmark_group!(
    name = codec,
    benchmarks = [frame_in, packet_in, binary_in, event_out, repacked, packed_in]
);
library_benchmark_group!(name = fan_out, benchmarks = [delivery]);

main!(library_benchmark_groups = [codec, fan_out]);
