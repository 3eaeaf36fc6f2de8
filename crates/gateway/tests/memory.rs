//! What a socket that only stays costs in memory, that an event costs the same whatever the number of its receivers,
//! and a body the same whatever the number of its faults. Counted in this process, by its allocator, so neither time nor other programs disturb it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use idae_socket::config::Config;
use idae_socket::{Gateway, HttpDriver};
use idae_socket_protocol::websocket::{Opcode, encode_masked};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Heap of a socket in one room, in bytes and in pieces: its session, its outbox, its task, and its places in tables,
/// which grow by doubling.
const SOCKET_BYTES_MAX: f64 = 2_100.0;
const SOCKET_BLOCKS_MAX: f64 = 13.5;

/// Pieces of memory for an event, whoever gets it.
const EVENT_BLOCKS_MAX: f64 = 10.0;

const EVENTS: usize = 50;

/// Pieces of memory for a hundred times the faults of a body: what holds the fields grows by doubling.
const FAULTS_BLOCKS_MAX: u64 = 100;

/// A client that allocates nothing once it has joined.
struct Client(TcpStream);

impl Client {
    fn join(address: SocketAddr, room: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut client = Self(stream);
        let request = format!(
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        client.0.write_all(request.as_bytes()).unwrap();
        client.read_to("\"maxPayload\"");
        client.send(r#"40{"recovery":true}"#);
        client.read_to("\"pid\"");
        client.send(&format!(r#"420["subscribe","{room}"]"#));
        client.read_to("\"ok\"");
        client
    }

    fn send(&mut self, text: &str) {
        let mut frame = Vec::new();
        encode_masked(Opcode::Text, text.as_bytes(), [1, 2, 3, 4], &mut frame);
        self.0.write_all(&frame).unwrap();
    }

    /// Reads until a text has come, and the message that it is in is over.
    fn read_to(&mut self, wanted: &str) {
        let mut read = Vec::new();
        let mut piece = [0; 1024];
        while !String::from_utf8_lossy(&read).contains(wanted) {
            let count = self.0.read(&mut piece).unwrap();
            assert_ne!(count, 0, "closed after {:?}", String::from_utf8_lossy(&read));
            read.extend_from_slice(&piece[..count]);
        }
    }

    /// Reads one event and tells how many bytes it has; all of them have as many.
    fn event_bytes(&mut self) -> usize {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).unwrap();
        let length = usize::from(head[1]);
        assert!(length < 126, "a short event");
        self.skip(length);
        head.len() + length
    }

    fn skip(&mut self, bytes: usize) {
        let mut piece = [0; 1024];
        let mut left = bytes;
        while left > 0 {
            let most = left.min(piece.len());
            left -= self.0.read(&mut piece[..most]).unwrap();
        }
    }
}

/// Pieces of memory that an event to a room takes, once all that is kept for the next one is there.
async fn blocks_per_event(gateway: &Gateway, room: &str, clients: &mut [Client]) -> f64 {
    let members = clients.len();
    let emit = async || assert_eq!(gateway.to_room(room, "db-change", "x").await.unwrap(), members);
    emit().await;
    let bytes = clients.iter_mut().map(Client::event_bytes).max().unwrap();
    let mut before = 0;
    for counted in [false, true] {
        if counted {
            before = dhat::HeapStats::get().total_blocks;
        }
        for _ in 0..EVENTS {
            emit().await;
            for client in &mut *clients {
                client.skip(bytes);
            }
        }
    }
    (dhat::HeapStats::get().total_blocks - before) as f64 / EVENTS as f64
}

/// Pieces of memory that it takes to refuse a body with so many unknown fields.
async fn blocks_to_refuse(address: SocketAddr, fields: usize) -> u64 {
    let body = format!("{{{}}}", vec![r#""zzzz":1"#; fields].join(","));
    let request = format!(
        "POST /e HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let before = dhat::HeapStats::get().total_blocks;
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    assert!(answer.await.unwrap().starts_with("HTTP/1.1 422 "));
    dhat::HeapStats::get().total_blocks - before
}

#[tokio::test]
async fn sockets_are_small_events_are_shared_and_faults_are_few() {
    let _profiler = dhat::Profiler::builder().testing().build();
    let mut config = Config::default();
    config.socket.connections_per_address_max = 10_000;
    let gateway = HttpDriver::with_config(config).start(0).await.unwrap();
    let address = gateway.addresses()[0];

    let mut few: Vec<_> = (0..8).map(|_| Client::join(address, "few")).collect();
    let mut many: Vec<_> = (0..56).map(|_| Client::join(address, "many")).collect();
    let before = dhat::HeapStats::get();
    const MORE: usize = 384;
    many.extend((0..MORE).map(|_| Client::join(address, "many")));
    let after = dhat::HeapStats::get();
    let per_socket = |before: usize, after: usize| (after as f64 - before as f64) / MORE as f64;
    let bytes = per_socket(before.curr_bytes, after.curr_bytes);
    let blocks = per_socket(before.curr_blocks, after.curr_blocks);

    let of_few = blocks_per_event(&gateway, "few", &mut few).await;
    let of_many = blocks_per_event(&gateway, "many", &mut many).await;
    println!(
        "a socket: {bytes:.0} bytes in {blocks:.1} blocks; an event: {of_few:.2} blocks for 8 sockets, {of_many:.2} for 440"
    );
    assert!(
        bytes <= SOCKET_BYTES_MAX && blocks <= SOCKET_BLOCKS_MAX,
        "a socket has {bytes} bytes in {blocks} blocks"
    );
    assert!(of_few <= EVENT_BLOCKS_MAX, "an event takes {of_few} blocks");
    // A frame that is queued is counted, one that leaves at once is not.
    assert!(of_many <= of_few + 1.5, "432 sockets more take {} blocks more", of_many - of_few);

    // The first one makes what the others find.
    blocks_to_refuse(address, 200).await;
    let (some, more) = (blocks_to_refuse(address, 200).await, blocks_to_refuse(address, 20_000).await);
    println!("a body: {some} blocks with 200 faults, {more} with 20,000");
    assert!(more <= some + FAULTS_BLOCKS_MAX, "19,800 faults more take {} blocks more", more - some);
    gateway.stop_now().await;
}
