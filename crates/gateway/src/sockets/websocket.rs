//! WebSocket: one task per connection reads, decodes and hands packets to the session. It writes
//! only what the kernel had no room for; everything else is written by whoever sends.

use std::borrow::Cow;
use std::cell::Cell;
use std::future::poll_fn;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use idae_socket_protocol::engineio::{CloseReason, Message, Packet, Probe, Transport};
use idae_socket_protocol::websocket::{self, Decoder, Frame, Input, Role, Violation};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::client::Handshake;
use super::{Endpoint, Session, Sockets, now};
use crate::hub::{Outbox, Standing, Status};
use crate::places::Permit;

/// What is read at once. One buffer per thread, not per socket.
const SCRATCH_BYTES: usize = 64 * 1024;

/// How long the last frames may take to leave, and the peer to close its side.
const FAREWELL_TIME_MAX: Duration = Duration::from_secs(2);

/// What is still read of a peer that was told goodbye.
const FAREWELL_BYTES_MAX: usize = 1024 * 1024;

/// A connection that has been answered 101, and what it is for.
pub(crate) struct Upgrade {
    sockets: Arc<Sockets>,
    purpose: Purpose,
}

enum Purpose {
    Open { endpoint: Arc<Endpoint>, handshake: Handshake, shard: usize, place: Permit },
    Probe(Arc<Session>),
}

impl Upgrade {
    /// A session that begins with WebSocket.
    pub(super) fn open(
        sockets: Arc<Sockets>,
        endpoint: Arc<Endpoint>,
        handshake: Handshake,
        shard: usize,
        place: Permit,
    ) -> Self {
        Self { sockets, purpose: Purpose::Open { endpoint, handshake, shard, place } }
    }

    /// A session that may move here from polling.
    pub(super) fn probe(sockets: Arc<Sockets>, session: Arc<Session>) -> Self {
        Self { sockets, purpose: Purpose::Probe(session) }
    }

    /// Takes the connection over, with what was read of it already. `held` is kept as long as it lives.
    pub(crate) fn start(self, stream: TcpStream, early: Bytes, held: impl Send + 'static) {
        let Self { sockets, purpose } = self;
        match purpose {
            Purpose::Open { endpoint, handshake, shard, place } => {
                let (read, write) = stream.into_split();
                let outbox = Outbox::streaming(write);
                let session = sockets.open(&endpoint, shard, Transport::Websocket, outbox, handshake, place);
                session.outbox.flush();
                tokio::spawn(Connection::serving(sockets, session, read).run(early, held));
            }
            Purpose::Probe(session) => {
                // The session's own thread is to look after it. It may not be this one.
                let Ok(stream) = stream.into_std() else { return };
                let thread = sockets.shard(&session).thread.clone();
                thread.spawn(async move {
                    // The runtime knows nothing of this connection yet; before it does, writes fail.
                    if let Ok(stream) = TcpStream::from_std(stream)
                        && stream.writable().await.is_ok()
                    {
                        probe(sockets, session, stream, early, held).await;
                    }
                });
            }
        }
    }
}

async fn probe(
    sockets: Arc<Sockets>,
    session: Arc<Session>,
    stream: TcpStream,
    early: Bytes,
    held: impl Send + 'static,
) {
    let (read, write) = stream.into_split();
    match session.begin_probe(&sockets, now()) {
        Some(given_up) => {
            let probing = Probing { write, given_up };
            // A task of its own, because this one has room for the wait above for all its life.
            tokio::spawn(Connection::probing(sockets, session, read, probing).run(early, held));
        }
        None => Box::pin(dismiss(write, read)).await,
    }
}

/// Closes a connection that no session wants.
async fn dismiss(write: OwnedWriteHalf, mut read: OwnedReadHalf) {
    // The kernel has room for the first two bytes of a connection.
    let _ = write.try_write(Frame::close(None).as_bytes());
    drop(write);
    let _ = timeout(FAREWELL_TIME_MAX, drain(&mut read)).await;
}

struct Connection {
    sockets: Arc<Sockets>,
    session: Arc<Session>,
    read: OwnedReadHalf,
    decoder: Decoder,
    /// Set until the session has moved to this connection.
    probing: Option<Box<Probing>>,
    /// The last read filled the buffer: there is probably more.
    has_more: bool,
}

struct Probing {
    write: OwnedWriteHalf,
    given_up: Arc<Notify>,
}

/// Why a connection is read no more.
enum End {
    /// The session has ended; its outbox holds the last frame.
    Session,
    /// A probe that came to nothing.
    Probe,
}

impl Connection {
    fn serving(sockets: Arc<Sockets>, session: Arc<Session>, read: OwnedReadHalf) -> Self {
        let limits = websocket::Limits {
            message_bytes_max: session.endpoint.settings.payload_bytes_max,
            fragments_max: websocket::FRAGMENTS_MAX,
        };
        Self {
            sockets,
            session,
            read,
            decoder: Decoder::new(Role::Server, limits),
            probing: None,
            has_more: false,
        }
    }

    fn probing(sockets: Arc<Sockets>, session: Arc<Session>, read: OwnedReadHalf, probing: Probing) -> Self {
        Self { probing: Some(Box::new(probing)), ..Self::serving(sockets, session, read) }
    }

    /// Serves the connection to its end. Not an `async fn`, whose future would hold its arguments twice: every idle
    /// socket pays for the size of it.
    fn run(mut self, early: Bytes, held: impl Send + 'static) -> impl Future<Output = ()> + Send {
        let first = self.feed(&mut early.to_vec());
        async move {
            let end = match first {
                ControlFlow::Break(end) => end,
                ControlFlow::Continue(()) => self.read_to_end().await,
            };
            // Boxed, because the room for it would be part of every task from the start.
            match (end, self.probing.take()) {
                (End::Probe, Some(probing)) => {
                    self.session.end_probe(&probing.given_up);
                    Box::pin(dismiss(probing.write, self.read)).await;
                }
                _ => {
                    let _ = Box::pin(timeout(FAREWELL_TIME_MAX, self.take_leave())).await;
                    self.session.outbox.abandon();
                }
            }
            drop(held);
        }
    }

    async fn read_to_end(&mut self) -> End {
        loop {
            let end = match &self.probing {
                Some(probing) => {
                    let given_up = Arc::clone(&probing.given_up);
                    tokio::select! {
                        biased;
                        () = given_up.notified() => ControlFlow::Break(End::Probe),
                        read = poll_fn(|cx| self.poll_read(cx)) => read,
                    }
                }
                None => self.serve().await,
            };
            if let ControlFlow::Break(end) = end {
                return end;
            }
            if self.has_more {
                // A client that floods must not keep the thread from the others.
                tokio::task::yield_now().await;
            }
        }
    }

    /// Waits for the next thing to happen on a session's connection. During a pause nothing is read, so a client
    /// that sends too fast is slowed down by its own TCP.
    async fn serve(&mut self) -> ControlFlow<End> {
        // Boxed, because the room for it would be part of every task from the start.
        let mut pause =
            self.session.pause(&self.sockets, now()).map(|pause| Box::pin(tokio::time::sleep(pause)));
        let session = Arc::clone(&self.session);
        let changed = session.outbox.changed();
        tokio::pin!(changed);
        // Listening before looking, so that nothing is missed in between.
        changed.as_mut().enable();
        let Status { standing, is_full, .. } = session.outbox.status();
        match standing {
            Standing::Open => {}
            Standing::Shut => return ControlFlow::Break(End::Session),
            Standing::Overflowed => {
                session.close(&self.sockets, CloseReason::SlowConsumer);
                return ControlFlow::Break(End::Session);
            }
            Standing::Failed => {
                session.close(&self.sockets, CloseReason::TransportError);
                return ControlFlow::Break(End::Session);
            }
        }
        poll_fn(|cx| {
            if changed.as_mut().poll(cx).is_ready() {
                return Poll::Ready(ControlFlow::Continue(()));
            }
            if is_full && self.read.as_ref().poll_write_ready(cx).is_ready() {
                session.outbox.resume();
                return Poll::Ready(ControlFlow::Continue(()));
            }
            if let Some(pause) = &mut pause {
                return pause.as_mut().poll(cx).map(ControlFlow::Continue);
            }
            self.poll_read(cx)
        })
        .await
    }

    /// Reads once and handles what came.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<ControlFlow<End>> {
        let mut scratch = Scratch::take();
        let mut buffer = ReadBuf::new(&mut scratch.0);
        match Pin::new(&mut self.read).poll_read(cx, &mut buffer) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                self.has_more = buffer.remaining() == 0;
                Poll::Ready(self.feed(buffer.filled_mut()))
            }
            Poll::Ready(Ok(())) => Poll::Ready(self.lose(CloseReason::TransportClose)),
            Poll::Ready(Err(_)) => Poll::Ready(self.lose(CloseReason::TransportError)),
        }
    }

    /// The peer is gone.
    fn lose(&self, reason: CloseReason) -> ControlFlow<End> {
        if self.probing.is_some() {
            return ControlFlow::Break(End::Probe);
        }
        self.session.close(&self.sockets, reason);
        ControlFlow::Break(End::Session)
    }

    /// Takes bytes apart and hands the packets on.
    fn feed(&mut self, bytes: &mut [u8]) -> ControlFlow<End> {
        let now = now();
        let mut input = Input::new(bytes);
        loop {
            let Self { sockets, session, decoder, probing, .. } = self;
            let flow = match decoder.next(&mut input) {
                Ok(None) => break,
                Ok(Some(message)) if probing.is_some() => on_probe(sockets, session, probing, &message, now),
                Ok(Some(message)) => on_message(sockets, session, &message, now),
                Err(_) if probing.is_some() => ControlFlow::Break(End::Probe),
                Err(violation) => {
                    match violation {
                        Violation::TooBig => sockets.metrics.limit("payload_bytes_max"),
                        Violation::TooManyFragments => sockets.metrics.limit("fragments_max"),
                        _ => {}
                    }
                    tracing::info!(remote = %session.handshake.address(), code = "bad_frame", reason = %violation, "a bad WebSocket frame");
                    let last = Frame::close(Some((violation.close_code(), "")));
                    end(sockets, session, CloseReason::TransportError, last)
                }
            };
            if flow.is_break() {
                return flow;
            }
        }
        if self.probing.is_none() {
            // Answers to everything that was read together leave together.
            self.session.outbox.flush();
        }
        ControlFlow::Continue(())
    }

    /// Sends the last frames, closes our side and waits for the peer to close its own: closing
    /// with unread bytes would reset the connection and could take the last frames away from it.
    async fn take_leave(&mut self) {
        let outbox = &self.session.outbox;
        while let Status { standing: Standing::Shut, is_empty: false, .. } = outbox.status() {
            if self.read.as_ref().writable().await.is_err() {
                return;
            }
            outbox.resume();
        }
        outbox.abandon();
        drain(&mut self.read).await;
    }
}

/// A message on the connection of a session.
fn on_message(
    sockets: &Arc<Sockets>,
    session: &Arc<Session>,
    message: &websocket::Message<'_>,
    now: std::time::Instant,
) -> ControlFlow<End> {
    let packet = match message {
        websocket::Message::Text(text) => match Packet::decode(text) {
            Ok(packet) => packet,
            Err(_) => return end(sockets, session, CloseReason::ParseError, Frame::close(None)),
        },
        websocket::Message::Binary(bytes) => Packet::Message(Message::Binary(Cow::Borrowed(bytes))),
        websocket::Message::Ping(payload) => {
            session.push(sockets, Frame::pong(payload));
            return ControlFlow::Continue(());
        }
        websocket::Message::Pong(_) => return ControlFlow::Continue(()),
        websocket::Message::Close(status) => {
            return end(sockets, session, CloseReason::TransportClose, Frame::close(*status));
        }
    };
    match session.receive(sockets, packet, now) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(End::Session),
    }
}

fn end(sockets: &Sockets, session: &Session, reason: CloseReason, last: Frame) -> ControlFlow<End> {
    session.end(sockets, reason, last);
    sockets.shard(session).remove(&session.sid);
    ControlFlow::Break(End::Session)
}

/// A message on a connection that may become the session's.
fn on_probe(
    sockets: &Sockets,
    session: &Session,
    probing: &mut Option<Box<Probing>>,
    message: &websocket::Message<'_>,
    now: std::time::Instant,
) -> ControlFlow<End> {
    let Some(probing_now) = probing else { return ControlFlow::Continue(()) };
    let write = &probing_now.write;
    let packet = match message {
        websocket::Message::Text(text) => Packet::decode(text).unwrap_or(Packet::Noop),
        websocket::Message::Ping(payload) => return answer(write, &Frame::pong(payload)),
        websocket::Message::Pong(_) => return ControlFlow::Continue(()),
        websocket::Message::Binary(_) | websocket::Message::Close(_) => Packet::Noop,
    };
    match session.probe(sockets, &packet, now) {
        Probe::Answer => {
            let flow = answer(write, &Frame::text("3probe"));
            session.outbox.nudge();
            flow
        }
        Probe::Upgraded => {
            if let Some(probing) = probing.take() {
                session.outbox.upgrade(probing.write);
            }
            ControlFlow::Continue(())
        }
        Probe::Abandoned => ControlFlow::Break(End::Probe),
    }
}

/// Writes a frame on a probing connection, which has no outbox. Its buffer is empty, unless the
/// peer floods it; then it is dropped.
fn answer(write: &OwnedWriteHalf, frame: &Frame) -> ControlFlow<End> {
    match write.try_write(frame.as_bytes()) {
        Ok(written) if written == frame.len() => ControlFlow::Continue(()),
        _ => ControlFlow::Break(End::Probe),
    }
}

/// Reads and forgets until the peer closes.
async fn drain(read: &mut OwnedReadHalf) {
    let mut drained = 0;
    while drained < FAREWELL_BYTES_MAX && read.readable().await.is_ok() {
        // Not a buffer of its own, which every task would carry all its life.
        match read.try_read(&mut Scratch::take().0) {
            Ok(0) => return,
            Ok(bytes) => drained += bytes,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

/// The thread's read buffer, taken for the length of one read.
struct Scratch(Box<[u8]>);

thread_local! {
    static SCRATCH: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

impl Scratch {
    fn take() -> Self {
        Self(SCRATCH.take().unwrap_or_else(|| vec![0; SCRATCH_BYTES].into_boxed_slice()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        SCRATCH.set(Some(std::mem::take(&mut self.0)));
    }
}
