//! What one message costs on its way in and one event on its way out, without any IO.

use divan::{Bencher, black_box, counter::BytesCount};
use idae_socket_protocol::engineio::Packet;
use idae_socket_protocol::socketio::{self, Args};
use idae_socket_protocol::websocket::{Decoder, Frame, Input, Limits, Opcode, Role, encode_masked};

fn main() {
    divan::main();
}

const LIMITS: Limits = Limits { message_bytes_max: 1_000_000, fragments_max: 4096 };

/// An event of a client with about this many bytes of JSON.
fn event(bytes: usize) -> String {
    format!(r#"4217["db-change",{{"entity":"users","text":"{}"}}]"#, "x".repeat(bytes))
}

#[divan::bench(args = [64, 1024, 65_536])]
fn frame_in(bencher: Bencher<'_, '_>, bytes: usize) {
    let mut wire = Vec::new();
    encode_masked(Opcode::Text, event(bytes).as_bytes(), [1, 2, 3, 4], &mut wire);
    bencher.counter(BytesCount::new(wire.len())).with_inputs(|| wire.clone()).bench_local_refs(|wire| {
        let mut decoder = Decoder::new(Role::Server, LIMITS);
        let mut input = Input::new(wire);
        black_box(decoder.next(&mut input).is_ok())
    });
}

#[divan::bench(args = [64, 1024, 65_536])]
fn packet_in(bencher: Bencher<'_, '_>, bytes: usize) {
    let text = event(bytes);
    bencher.counter(BytesCount::new(text.len())).bench_local(|| {
        black_box(Packet::decode(black_box(&text)).is_ok()) && black_box(socketio::decode(&text[1..]).is_ok())
    });
}

#[divan::bench(args = [64, 1024, 65_536])]
fn event_out(bencher: Bencher<'_, '_>, bytes: usize) {
    let payload = format!(r#"{{"entity":"users","text":"{}"}}"#, "x".repeat(bytes));
    bencher.counter(BytesCount::new(payload.len())).bench_local(|| {
        black_box(Frame::text_from_parts(["42", "", "[\"", "db-change", "\",", black_box(&payload), "]"]))
    });
}

#[divan::bench]
fn acknowledgement_out(bencher: Bencher<'_, '_>) {
    let args = Args::from_raw(r#"{"status":"ok","rooms":["admin"]}"#, Vec::new());
    bencher.bench_local(|| black_box(Frame::text(&socketio::ack("/", black_box(17), &args))));
}
