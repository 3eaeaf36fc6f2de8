//! The background task of a driver: connects, carries bytes, comes back, and ends.

use std::sync::{Arc, Weak};
use std::time::Duration;

use idae_socket_protocol::websocket::{Decoder, FRAGMENTS_MAX, Input, Limits, Opcode, Role};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::handlers::Handlers;
use crate::handshake::{Opened, Stream, Target};
use crate::session::{End, MESSAGE_BYTES_MAX, Resume, Session};
use crate::shared::{Alive, Shared, Status};
use crate::wire::Out;
use crate::{Backoff, DisconnectReason, Error};

/// Bytes of one read.
const READ_BYTES: usize = 16 * 1024;
/// How long a goodbye may take.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);

const LIMITS: Limits = Limits { message_bytes_max: MESSAGE_BYTES_MAX, fragments_max: FRAGMENTS_MAX };

pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) alive: Weak<Alive>,
    pub(crate) target: Target,
    pub(crate) handlers: Handlers,
    pub(crate) backoff: Backoff,
    pub(crate) connect_timeout: Duration,
    pub(crate) recovery: Option<bool>,
    /// Whoever waits for the outcome of the first attempt.
    pub(crate) first: Option<oneshot::Sender<Result<(), Error>>>,
    pub(crate) resume: Resume,
    /// Attempts that failed in a row.
    pub(crate) failures: u32,
}

/// However the task ends, by a panic in a handler too, nobody waits for it for ever.
struct Closing(Arc<Shared>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.closed();
    }
}

impl Worker {
    pub(crate) async fn run(mut self) {
        let _closing = Closing(Arc::clone(&self.shared));
        while !self.shared.is_leaving() {
            match self.attempt().await {
                End::Closed => return,
                End::Left(reason) => {
                    // Only attempts in a row count, and this one had succeeded.
                    self.failures = 0;
                    self.shared.left(reason);
                    let (_, pause) = self.decide(Error::Disconnected(reason));
                    self.handlers.disconnected(reason);
                    rest(&self.shared, pause).await;
                }
                End::NotJoined(error) => {
                    if let Some(first) = self.first.take() {
                        // The caller gets the error itself; a caller that is gone needs none.
                        let _ = first.send(Err(error));
                        return;
                    }
                    self.shared.left(DisconnectReason::TransportError);
                    let (error, pause) = self.decide(error);
                    self.handlers.connect_failed(&error);
                    rest(&self.shared, pause).await;
                }
            }
        }
        // Left between two connections: there is nobody to say goodbye to.
    }

    /// Whether there is another attempt, and after which pause. The status says so before any handler
    /// is called: whoever acts on what a handler heard must not be overruled by it later.
    fn decide(&mut self, error: Error) -> (Arc<Error>, Option<Duration>) {
        let pause = match error.is_retryable() {
            true => self.backoff.pause(self.failures, rand::random()),
            false => None,
        };
        tracing::debug!(%error, ?pause, "not connected");
        let error = Arc::new(error);
        let status = match pause {
            Some(_) => Status::Connecting,
            None => Status::Inactive(Arc::clone(&error)),
        };
        self.failures = if pause.is_some() { self.failures.saturating_add(1) } else { 0 };
        self.shared.status.send_replace(status);
        (error, pause)
    }

    /// One connection from the first byte to the last.
    async fn attempt(&mut self) -> End {
        let deadline = Instant::now() + self.connect_timeout;
        let opened = tokio::select! {
            opened = timeout_at(deadline, self.target.open()) => opened,
            () = until_leaving(&self.shared) => return End::Closed,
        };
        match opened {
            Ok(Ok(opened)) => self.exchange(opened, deadline).await,
            Ok(Err(error)) => End::NotJoined(error),
            Err(_) => End::NotJoined(self.timed_out()),
        }
    }

    fn timed_out(&self) -> Error {
        Error::ConnectTimeout { address: self.target.address.to_string(), after: self.connect_timeout }
    }

    async fn exchange(&mut self, opened: Opened, join_until: Instant) -> End {
        let Opened { mut stream, early: mut buffer } = opened;
        let mut filled = buffer.len();
        buffer.resize(READ_BYTES.max(filled), 0);

        let Self { shared, alive, handlers, resume, target, recovery, first, .. } = self;
        let mut session = Session::new(shared, alive, handlers, resume, target, *recovery);
        let mut out = Out::default();
        let mut messages = Decoder::new(Role::Client, LIMITS);
        let mut heard = Instant::now();
        let end = {
            let (mut reader, mut writer) = tokio::io::split(&mut stream);
            loop {
                if let Err(end) = take(&mut buffer[..filled], &mut messages, &mut session, &mut out) {
                    break end;
                }
                if session.is_joined() {
                    if let Some(first) = first.take() {
                        let _ = first.send(Ok(()));
                    }
                    if shared.is_leaving() {
                        break End::Closed;
                    }
                    send_queued(shared, &mut out);
                } else if shared.is_leaving() {
                    break End::Closed;
                }
                filled = 0;
                let deadline = if session.is_joined() { heard + session.silence_max() } else { join_until };
                tokio::select! {
                    read = reader.read(&mut buffer), if !out.is_high() => match read {
                        Ok(0) => break session.lost(DisconnectReason::TransportClose, "the connection was closed"),
                        Ok(count) => {
                            filled = count;
                            heard = Instant::now();
                        }
                        Err(error) => break session.lost(DisconnectReason::TransportError, &error.to_string()),
                    },
                    written = out.write_some(&mut writer), if out.is_busy() => if let Err(error) = written {
                        break session.lost(DisconnectReason::TransportError, &error.to_string());
                    },
                    () = shared.wake.notified() => {}
                    () = sleep_until(deadline) => break match session.is_joined() {
                        true => End::Left(DisconnectReason::PingTimeout),
                        false => End::NotJoined(Error::ConnectTimeout {
                            address: target.address.to_string(),
                            after: self.connect_timeout,
                        }),
                    },
                }
            }
        };
        let was_joined = session.is_joined();
        self.goodbye(&end, was_joined, stream, out).await;
        end
    }

    /// Ends a connection in the order that the protocol knows; errors have no meaning any more.
    async fn goodbye(&mut self, end: &End, was_joined: bool, mut stream: Box<dyn Stream>, mut out: Out) {
        match end {
            End::Closed => {}
            // There is nobody who would read it.
            End::Left(DisconnectReason::TransportError | DisconnectReason::PingTimeout) => return,
            End::Left(_) | End::NotJoined(_) => {
                // The application must not wait for the server's manners to learn what happened.
                out.close(None);
                tokio::spawn(timeout(GOODBYE_TIMEOUT, async move {
                    if out.write_all(&mut stream).await.is_ok() {
                        let _ = stream.shutdown().await;
                    }
                }));
                return;
            }
        }
        let farewell = async {
            while was_joined && self.shared.outbox.lock().has_queued() {
                send_queued(&self.shared, &mut out);
                out.write_all(&mut stream).await?;
            }
            if was_joined {
                let prefix = idae_socket_protocol::socketio::namespace_prefix(&self.shared.namespace);
                out.push(Opcode::Text, format!("41{prefix}").as_bytes());
            }
            out.close(None);
            out.write_all(&mut stream).await?;
            stream.shutdown().await?;
            // Until the server has closed, too: closing before could take our last words back.
            let mut rest = [0; 1024];
            while stream.read(&mut rest).await? > 0 {}
            std::io::Result::Ok(())
        };
        let _ = timeout(GOODBYE_TIMEOUT, farewell).await;
        if was_joined {
            self.shared.status.send_replace(Status::Inactive(Arc::new(Error::Closed)));
            self.handlers.disconnected(DisconnectReason::IoClientDisconnect);
        }
    }
}

/// Between two attempts; holds no more of the worker than it needs.
async fn rest(shared: &Shared, pause: Option<Duration>) {
    match pause {
        Some(pause) => pause_until(shared, Instant::now() + pause).await,
        None => until_wanted(shared).await,
    }
}

async fn pause_until(shared: &Shared, until: Instant) {
    while !shared.is_leaving() {
        tokio::select! {
            () = sleep_until(until) => return,
            // An emit wakes, too; it only has to wait for the connection.
            () = shared.wake.notified() => {}
        }
    }
}

/// Waits for somebody to ask for another connection, or for the end.
async fn until_wanted(shared: &Shared) {
    while !shared.is_leaving() && matches!(*shared.status.borrow(), Status::Inactive(_)) {
        shared.wake.notified().await;
    }
}

async fn until_leaving(shared: &Shared) {
    while !shared.is_leaving() {
        shared.wake.notified().await;
    }
}

/// Takes all messages of a read.
fn take(
    bytes: &mut [u8],
    messages: &mut Decoder,
    session: &mut Session<'_>,
    out: &mut Out,
) -> Result<(), End> {
    let mut input = Input::new(bytes);
    loop {
        match messages.next(&mut input) {
            Ok(Some(message)) => session.receive(message, out)?,
            Ok(None) => return Ok(()),
            Err(violation) => {
                out.close(Some(violation.close_code()));
                return Err(session.lost(DisconnectReason::ParseError, &violation.to_string()));
            }
        }
    }
}

/// Moves packets from the queue to the frames, as far as these are not too many already.
fn send_queued(shared: &Shared, out: &mut Out) {
    let mut moved = false;
    while !out.is_high() {
        let Some(packet) = shared.outbox.lock().pop() else { break };
        moved = true;
        out.push(Opcode::Text, packet.text.as_bytes());
        for attachment in &packet.attachments {
            out.push(Opcode::Binary, attachment);
        }
    }
    if moved {
        shared.made_room();
    }
}
