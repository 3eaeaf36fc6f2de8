//! HTTP long polling: a GET takes what waits for the client, a POST brings what it sends.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use idae_socket_protocol::engineio::{CloseReason, Packet, Payload, Refusal, Transport};
use idae_socket_protocol::websocket::Frame;
use tokio::time::timeout;

use super::session::{Method, Unfit};
use super::{Session, Sockets, now};
use crate::body::{self, BodyError};
use crate::hub::Standing;

/// Smaller bodies are not worth compressing, as in engine.io.
pub(super) const GZIP_BYTES_MIN: usize = 1024;

/// How long a poll that arrives during an upgrade is held. Long enough that a client that polls
/// on does not spin, short enough that one that waits for it loses nothing.
const HURRIED_POLL: Duration = Duration::from_millis(50);

/// How long a client's farewell waits for a poll on its way. A busy machine may leave a request lying that long.
const LAST_POLL: Duration = Duration::from_millis(100);

/// What became of a POST.
pub(super) enum Posted {
    Taken,
    Refused(StatusCode),
}

/// Waits until something can be sent. `None`: a second poll at a time, for which the session was
/// closed.
pub(super) async fn get(sockets: &Arc<Sockets>, session: &Arc<Session>) -> Result<Option<Vec<u8>>, Refusal> {
    match session.begin(sockets, Method::Poll) {
        Ok(()) => {}
        Err(Unfit::Concurrent) => return Ok(None),
        Err(Unfit::OtherTransport) => return Err(Refusal::BadRequest),
        Err(Unfit::Ended) => {
            // The session waited for this poll, to give it its last packets.
            let body = session.outbox.take_payload();
            forget_if_done(sockets, session);
            return body.map(Some).ok_or(Refusal::UnknownSid);
        }
    }
    let mut request = Pending { sockets, session, method: Method::Poll, is_answered: false };
    let body = wait(session).await;
    session.outbox.stop_waiting();
    request.is_answered = true;
    if session.ended().is_some() {
        forget_if_done(sockets, session);
    }
    body.map(Some).ok_or(Refusal::UnknownSid)
}

/// Takes a session that has ended out of the table when its last packet has left.
fn forget_if_done(sockets: &Sockets, session: &Session) {
    if session.outbox.status().is_empty {
        sockets.shard(session).remove(&session.sid);
        // A POST may wait for that.
        session.outbox.nudge();
    }
}

/// Gives a poll that was sent before the client's farewell, but is overtaken by it on another connection, the time
/// to arrive and be answered. The client cannot tell the difference, since the farewell is not answered yet.
async fn await_last_poll(session: &Session) {
    let taken = async {
        while !session.outbox.status().is_empty {
            session.outbox.changed().await;
        }
    };
    let _ = timeout(LAST_POLL, taken).await;
}

/// A session that leaves the table with this.
struct Forgotten<'a> {
    sockets: &'a Sockets,
    session: &'a Session,
}

impl Drop for Forgotten<'_> {
    fn drop(&mut self) {
        self.sockets.shard(self.session).remove(&self.session.sid);
    }
}

/// Packets of a POST after which everybody else on the thread gets a turn.
const PACKETS_PER_TURN: usize = 32;

async fn wait(session: &Session) -> Option<Vec<u8>> {
    let mut has_waited = false;
    loop {
        let changed = session.outbox.changed();
        tokio::pin!(changed);
        // Listening before looking, so that nothing is missed in between.
        changed.as_mut().enable();
        if session.transport() != Transport::Polling {
            return Some(b"6".to_vec());
        }
        if let Some(body) = session.outbox.take_payload() {
            return Some(body);
        }
        if session.outbox.status().standing != Standing::Open {
            return None;
        }
        if !session.hurries_polls() {
            changed.await;
            has_waited = true;
            continue;
        }
        if has_waited || timeout(HURRIED_POLL, changed).await.is_err() {
            return Some(b"6".to_vec());
        }
    }
}

/// Reads a body and hands its packets to the session.
pub(super) async fn post(
    sockets: &Arc<Sockets>,
    session: &Arc<Session>,
    http: Request<Incoming>,
) -> Result<Posted, Refusal> {
    match session.begin(sockets, Method::Post) {
        Ok(()) => {}
        Err(Unfit::Concurrent) => return Ok(Posted::Refused(StatusCode::BAD_REQUEST)),
        Err(Unfit::OtherTransport) => return Err(Refusal::BadRequest),
        Err(Unfit::Ended) => return Err(Refusal::UnknownSid),
    }
    let mut request = Pending { sockets, session, method: Method::Post, is_answered: false };
    if http.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == "application/octet-stream") {
        session.close(sockets, CloseReason::TransportError);
        return Ok(Posted::Refused(StatusCode::BAD_REQUEST));
    }
    let bytes_max = session.endpoint.settings.payload_bytes_max;
    let body = match body::read(http.into_body(), bytes_max).await {
        Ok(body) => body,
        Err(BodyError::TooLarge) => {
            request.is_answered = true;
            sockets.metrics.limit("payload_bytes_max");
            return Ok(Posted::Refused(StatusCode::PAYLOAD_TOO_LARGE));
        }
        Err(BodyError::TooSlow) => {
            session.close(sockets, CloseReason::TransportError);
            return Ok(Posted::Refused(StatusCode::REQUEST_TIMEOUT));
        }
        Err(BodyError::Broken) => return Ok(Posted::Refused(StatusCode::BAD_REQUEST)),
    };
    let taken = take(sockets, session, &body).await;
    request.is_answered = true;
    // Even if the client does not wait for the answer.
    let _forgotten = matches!(taken, Ok(Brought::Farewell)).then(|| Forgotten { sockets, session });
    session.outbox.flush();
    if let Ok(Brought::Farewell) = taken {
        await_last_poll(session).await;
    }
    Ok(match taken {
        // That the answers to it were too many says nothing against this request.
        Ok(_) | Err(CloseReason::TransportClose | CloseReason::SlowConsumer) => Posted::Taken,
        Err(_) => Posted::Refused(StatusCode::BAD_REQUEST),
    })
}

/// What the body of a POST held.
enum Brought {
    Packets,
    /// The packet that closes the session, after which nothing is read.
    Farewell,
}

/// Hands a body's packets to the session, no faster than it may send: meanwhile the client waits for its answer, and
/// must not send the next POST.
async fn take(sockets: &Arc<Sockets>, session: &Arc<Session>, body: &[u8]) -> Result<Brought, CloseReason> {
    let Ok(text) = std::str::from_utf8(body) else {
        session.close(sockets, CloseReason::ParseError);
        return Err(CloseReason::ParseError);
    };
    for (number, packet) in Payload::new(text).enumerate() {
        if number > 0 && number % PACKETS_PER_TURN == 0 {
            session.outbox.flush();
            tokio::task::yield_now().await;
        }
        while let Some(pause) = session.pause(sockets, now()) {
            session.outbox.flush();
            tokio::time::sleep(pause).await;
        }
        match packet {
            // Unless the session has moved to a WebSocket meanwhile.
            Ok(Packet::Close) if session.transport() == Transport::Polling => {
                session.end(sockets, CloseReason::TransportClose, Frame::text("6"));
                return Ok(Brought::Farewell);
            }
            Ok(packet) => session.receive(sockets, packet, now())?,
            Err(_) => {
                session.close(sockets, CloseReason::ParseError);
                return Err(CloseReason::ParseError);
            }
        }
    }
    Ok(Brought::Packets)
}

/// A request that the session waits for. If it goes away unanswered, the client is gone.
struct Pending<'a> {
    sockets: &'a Sockets,
    session: &'a Session,
    method: Method,
    is_answered: bool,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.session.done(self.method);
        // After an upgrade the requests of polling are nothing to the session any more.
        if !self.is_answered && self.session.transport() == Transport::Polling {
            self.session.close(self.sockets, CloseReason::TransportError);
        }
    }
}

/// A larger body is sent as it is: compressing it would hold up everybody else on the thread.
pub(super) const GZIP_BYTES_MAX: usize = 256 * 1024;

/// Compresses a body; `None` if that fails, which it does not in memory.
pub(super) fn gzip(body: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 2), Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}
