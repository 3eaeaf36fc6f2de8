//! One Engine.IO session and the Socket.IO connection on top of it.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use idae_socket_protocol::Sid;
use idae_socket_protocol::engineio::{
    self, CloseReason, Due, Message, Packet, Probe, Transport, push_base64,
};
use idae_socket_protocol::socketio::{self, Connection, Held, Inbound, Parser};
use idae_socket_protocol::websocket::Frame;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::client::{Client, Handshake, TokenDue};
use super::{Application, Endpoint, RawSocket, Sockets, control, now};
use crate::hub::{Outbox, Standing};
use crate::places::Permit;

/// A connection that has left all its namespaces may live on for so many times `socket.connect_timeout_ms`.
const NAMESPACELESS_FACTOR: u32 = 10;

/// The longest that a client is left unread at once.
const PAUSE_PART: Duration = Duration::from_millis(100);

/// How far a client may be ahead of its pace: a second's events at once.
const PACE_BURST: Duration = Duration::from_secs(1);

/// How often a connection may be refused a namespace before it is closed. A page asks again with a better token, for
/// each of its namespaces; whoever tries tokens one after the other asks more often.
const REFUSED_CONNECTS_MAX: u16 = 256;

/// How fast a client sends, as the time at which it would be back at its allowed pace.
struct Pace(Instant);

impl Pace {
    fn count(&mut self, interval: Duration, now: Instant) {
        self.0 = self.0.max(now) + interval;
    }

    fn ahead(&self, now: Instant) -> Duration {
        self.0.saturating_duration_since(now)
    }
}

pub(crate) struct Session {
    /// The secret by which requests find the session.
    pub(super) sid: Sid,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) handshake: Handshake,
    pub(crate) outbox: Arc<Outbox>,
    /// How its client writes packets, once it has written one. Beside the state, so that nobody who has something
    /// for the client waits for a packet that is being read.
    parser: OnceLock<Parser>,
    state: Mutex<State>,
    /// Held while the clients of a session that has ended leave the hub.
    leaving: Mutex<()>,
    _place: Permit,
}

struct State {
    engine: engineio::Session,
    connection: Connection,
    /// The Socket.IO sockets, one per namespace joined.
    clients: Vec<Arc<Client>>,
    /// Until when a namespace has to be joined.
    connect_by: Option<Instant>,
    pace: Pace,
    refused_connects: u16,
    /// Pongs until its client has got rid of what it has of an earlier return; zero if that is not awaited.
    flush_pongs: u8,
    /// The alarm of the table that counts.
    alarm: Instant,
    /// Tells the probing connection that the session has ended or given the probe up.
    probe: Option<Arc<Notify>>,
    ended: Option<CloseReason>,
}

/// Why a request cannot be served by the session it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It has ended.
    Ended,
    /// Its transport is another one.
    OtherTransport,
    /// It was closed for this request: a second one of its kind at a time.
    Concurrent,
}

impl Session {
    pub(super) fn open(
        sockets: &Sockets,
        endpoint: &Arc<Endpoint>,
        sid: Sid,
        transport: Transport,
        outbox: Arc<Outbox>,
        (handshake, place): (Handshake, Permit),
        now: Instant,
    ) -> Arc<Self> {
        let engine = engineio::Session::open(transport, &endpoint.settings, now);
        let connect_by = match endpoint.application {
            Application::SocketIo => Some(now + sockets.settings.connect_timeout),
            Application::Raw(_) => None,
        };
        let mut state = State {
            engine,
            connection: Connection::default(),
            clients: Vec::new(),
            connect_by,
            pace: Pace(now),
            refused_connects: 0,
            flush_pongs: 0,
            alarm: now,
            probe: None,
            ended: None,
        };
        state.alarm = state.deadline();
        Arc::new(Self {
            sid,
            endpoint: Arc::clone(endpoint),
            handshake,
            outbox,
            parser: OnceLock::new(),
            state: Mutex::new(state),
            leaving: Mutex::new(()),
            _place: place,
        })
    }

    /// When the session has to be looked at.
    pub(super) fn deadline(&self) -> Instant {
        self.state.lock().deadline()
    }

    /// Takes a packet that arrived on the session's transport. What it causes to be sent is
    /// queued; the caller flushes the outbox when it has handed over all that arrived.
    ///
    /// # Errors
    /// The session has ended, perhaps because of this packet.
    pub(super) fn receive(
        self: &Arc<Self>,
        sockets: &Arc<Sockets>,
        packet: Packet<'_>,
        now: Instant,
    ) -> Result<(), CloseReason> {
        let inbound = {
            let mut state = self.state.lock();
            if let Some(reason) = state.ended {
                return Err(reason);
            }
            let is_pong = matches!(packet, Packet::Pong(_));
            let message = match state.engine.receive(packet, &self.endpoint.settings, now) {
                Ok(Some(message)) => message,
                Ok(None) if is_pong && state.flush_pongs > 1 => {
                    // That of a ping that was sent before.
                    state.flush_pongs -= 1;
                    return Ok(());
                }
                Ok(None) if is_pong && state.flush_pongs == 1 => {
                    // It has handed over what it had; now it knows where it is.
                    state.clients.iter().filter(|client| client.is_flush()).for_each(|client| client.heard());
                    drop(state);
                    self.finish(sockets, CloseReason::TransportClose);
                    return Err(CloseReason::TransportClose);
                }
                Ok(None) => {
                    // After a pong the next ping may be due before the timeout would have been.
                    self.advance_alarm(sockets, state);
                    return Ok(());
                }
                Err(reason) => {
                    drop(state);
                    self.close(sockets, reason);
                    return Err(reason);
                }
            };
            if let Application::Raw(handler) = &self.endpoint.application {
                drop(state);
                handler(&RawSocket::new(self, sockets), message);
                return Ok(());
            }
            let limits = &sockets.settings.connection;
            let inbound = match message {
                Message::Text(text) => state.connection.text(text, limits, now),
                Message::Binary(bytes) => state.connection.binary(&bytes, limits, now),
            };
            self.parser.get_or_init(|| state.connection.parser());
            // Leaving counts too, because it makes room for joining again.
            if matches!(inbound, Ok(Some(Inbound::Event { .. } | Inbound::Disconnect { .. }))) {
                state.pace.count(sockets.settings.event_interval, now);
            }
            inbound
        };
        match inbound {
            Ok(Some(inbound)) => {
                self.act(sockets, inbound);
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(violation) => {
                violation.limit().inspect(|limit| sockets.metrics.limit(limit));
                tracing::debug!(remote = %self.handshake.address(), reason = %violation, "closing a connection");
                // What the reference server calls a decoder error's reason too.
                self.close(sockets, CloseReason::ForcedClose);
                Err(CloseReason::ForcedClose)
            }
        }
    }

    fn act(self: &Arc<Self>, sockets: &Arc<Sockets>, inbound: Inbound<'_>) {
        match inbound {
            Inbound::Connect { namespace, auth } => {
                control::connect(sockets, self, &namespace, auth.as_deref());
            }
            Inbound::ConnectRefused { namespace, message, limit } => {
                sockets.metrics.limit(limit);
                control::refuse(sockets, self, &namespace, message, None);
            }
            Inbound::Event { namespace, id, name, args } => {
                if let Some(client) = self.client(&namespace) {
                    client.heard();
                    control::event(sockets, self, &client, id, &name, args);
                }
            }
            Inbound::Ack { namespace, id, args } => {
                if let Some(client) = self.client(&namespace) {
                    client.heard();
                    client.acks.resolve(id, args.into_owned());
                }
            }
            Inbound::Disconnect { namespace } => {
                let client = self.state.lock().take_client(sockets, &namespace);
                if let Some(client) = client {
                    control::left(sockets, &client, "client namespace disconnect");
                }
            }
        }
    }

    /// How long the client has to be left unread, because it sent more than it may.
    pub(super) fn pause(&self, sockets: &Sockets, now: Instant) -> Option<Duration> {
        let mut state = self.state.lock();
        let pause = state.pace.ahead(now).saturating_sub(PACE_BURST);
        if pause.is_zero() {
            return None;
        }
        // In parts, so that a ping that becomes due meanwhile is excused too.
        let pause = pause.min(PAUSE_PART);
        state.engine.excuse(pause);
        drop(state);
        sockets.metrics.limit("events_per_s_max");
        Some(pause)
    }

    /// Queues a frame of the session itself.
    pub(super) fn push(&self, sockets: &Sockets, frame: Frame) {
        self.outbox.push(frame, sockets.hub.limits().outbox_bytes_max);
    }

    /// Queues a packet of Socket.IO and its attachments. `text` is the default parser's.
    pub(super) fn push_packet(&self, sockets: &Sockets, text: &str, attachments: &[Bytes]) {
        if attachments.is_empty() {
            return self.push(sockets, self.packet(text));
        }
        let frames = match self.parser() {
            Parser::Json => {
                let attachments = attachments.iter().map(|bytes| self.binary(bytes));
                std::iter::once(Frame::text(text)).chain(attachments).collect()
            }
            // As bytes also for who wants base64: whoever speaks msgpack can read bytes.
            Parser::Msgpack => vec![Frame::binary(&socketio::repack(text, attachments))],
        };
        self.outbox.push_all(frames, sockets.hub.limits().outbox_bytes_max);
    }

    /// A packet of Socket.IO without attachments, as the client wants it. `text` is the default parser's.
    pub(super) fn packet(&self, text: &str) -> Frame {
        match self.parser() {
            Parser::Json => Frame::text(text),
            Parser::Msgpack => Frame::binary(&socketio::repack(text, &[])),
        }
    }

    /// How its client writes packets, and wants them.
    pub(super) fn parser(&self) -> Parser {
        self.parser.get().copied().unwrap_or(Parser::Json)
    }

    /// A binary message in the form that the client can take.
    pub(super) fn binary(&self, bytes: &[u8]) -> Frame {
        if !self.handshake.text_only {
            return Frame::binary(bytes);
        }
        let mut text = Vec::new();
        push_base64(bytes, &mut text);
        Frame::text(std::str::from_utf8(&text).unwrap_or_default())
    }

    pub(super) fn client(&self, namespace: &str) -> Option<Arc<Client>> {
        self.state.lock().clients.iter().find(|client| *client.namespace == *namespace).cloned()
    }

    /// The sockets of this session.
    pub(super) fn clients(&self) -> Vec<Arc<Client>> {
        self.state.lock().clients.clone()
    }

    /// The client is in a namespace. Returns what it sent there while that was being decided, or
    /// `None` if the session has ended meanwhile.
    pub(super) fn joined(&self, sockets: &Sockets, client: Arc<Client>) -> Option<Vec<Held>> {
        let mut state = self.state.lock();
        if state.ended.is_some() {
            return None;
        }
        state.connect_by = None;
        let held = state.connection.accept(&client.namespace);
        state.clients.reserve_exact(1);
        state.clients.push(client);
        self.advance_alarm(sockets, state);
        Some(held)
    }

    /// The client was not let into a namespace, and told so. Who is refused too often is sent away.
    pub(super) fn refused(&self, sockets: &Sockets, namespace: &str) {
        let mut state = self.state.lock();
        state.connection.refuse(namespace);
        state.pace.count(sockets.settings.event_interval, now());
        state.refused_connects = state.refused_connects.saturating_add(1);
        let is_too_often = state.refused_connects == REFUSED_CONNECTS_MAX;
        drop(state);
        if is_too_often {
            sockets.metrics.limit("refused_connects_max");
            self.outbox.flush();
            self.finish(sockets, CloseReason::ForcedClose);
        }
    }

    /// The server takes the client out of a namespace.
    pub(super) fn kick(&self, sockets: &Sockets, namespace: &str, now: Instant) -> Option<Arc<Client>> {
        let mut state = self.state.lock();
        state.connection.kick(namespace, now);
        state.take_client(sockets, namespace)
    }

    pub(super) fn ended(&self) -> Option<CloseReason> {
        self.state.lock().ended
    }

    /// The alarm that was set for `at` has gone off.
    pub(super) fn alarm(&self, sockets: &Arc<Sockets>, at: Instant, now: Instant) {
        if self.state.lock().alarm != at {
            return;
        }
        if self.tick(sockets, now) {
            let mut state = self.state.lock();
            state.alarm = state.deadline();
            let alarm = state.alarm;
            drop(state);
            sockets.shard(self).set_alarm(self.sid, alarm);
        } else {
            // Also the end of a session that waited for a last poll.
            sockets.shard(self).remove(&self.sid);
        }
    }

    /// Something may be due earlier than it was.
    pub(super) fn reset_alarm(&self, sockets: &Sockets) {
        self.advance_alarm(sockets, self.state.lock());
    }

    /// Sets the alarm earlier if something is due before it.
    fn advance_alarm(&self, sockets: &Sockets, mut state: MutexGuard<'_, State>) {
        let deadline = state.deadline();
        if deadline < state.alarm {
            state.alarm = deadline;
            drop(state);
            sockets.shard(self).set_alarm(self.sid, deadline);
        }
    }

    /// Does what is due. Returns whether the session goes on.
    pub(super) fn tick(&self, sockets: &Arc<Sockets>, now: Instant) -> bool {
        loop {
            let mut state = self.state.lock();
            if state.ended.is_some() {
                return false;
            }
            let overdue = match self.outbox.status().standing {
                // Over WebSocket the task sees it first; a polling session has none.
                Standing::Overflowed => Some(CloseReason::SlowConsumer),
                _ if state.connect_by.is_some_and(|by| by <= now) => {
                    sockets.metrics.limit("connect_timeout_ms");
                    Some(CloseReason::ForcedClose)
                }
                _ => None,
            };
            if let Some(reason) = overdue {
                drop(state);
                self.close(sockets, reason);
                return false;
            }
            let token =
                state.clients.iter().find_map(|client| Some((client.token_due(now)?, Arc::clone(client))));
            if let Some(((due, identity), client)) = token {
                drop(state);
                match due {
                    TokenDue::Warning => control::warn(sockets, &client, &identity),
                    TokenDue::Expiry => control::expire(sockets, &client, &identity),
                }
                continue;
            }
            match state.engine.tick(&self.endpoint.settings, now) {
                None => return true,
                Some(Due::Ping) => {
                    drop(state);
                    self.push(sockets, Frame::text("2"));
                    self.outbox.flush();
                }
                Some(Due::PingTimeout) => {
                    drop(state);
                    self.close(sockets, CloseReason::PingTimeout);
                    return false;
                }
                Some(Due::ProbeTimeout) => {
                    sockets.metrics.limit("upgrade_timeout_ms");
                    if let Some(probe) = state.probe.take() {
                        probe.notify_one();
                    }
                }
            }
        }
    }

    /// Ends the session at once: what breaks the protocol gets no last word.
    pub(super) fn close(&self, sockets: &Sockets, reason: CloseReason) {
        let last = match (self.transport(), reason) {
            (Transport::Websocket, _) => Frame::close(None),
            (Transport::Polling, CloseReason::TransportClose) => Frame::text("6"),
            (Transport::Polling, _) => Frame::text("1"),
        };
        self.end(sockets, reason, last);
        sockets.shard(self).remove(&self.sid);
    }

    /// Its client is about to get rid of what it has, and answers a ping behind that.
    pub(super) fn expect_flush(&self) {
        let mut state = self.state.lock();
        state.flush_pongs = 1 + u8::from(state.engine.is_awaiting_pong());
    }

    /// Ends a session whose client has come back on another connection.
    pub(super) fn end_silently(&self, sockets: &Sockets) {
        self.close(sockets, CloseReason::TransportClose);
        // Somebody else may be at it already.
        drop(self.leaving.lock());
    }

    /// Ends the session and says so: over polling the next poll still gets what waits.
    pub(super) fn finish(&self, sockets: &Sockets, reason: CloseReason) {
        match self.transport() {
            Transport::Polling => self.end(sockets, reason, Frame::text("1")),
            Transport::Websocket => self.close(sockets, reason),
        }
    }

    /// Takes the client out of every namespace, says so for each, and ends the session.
    pub(super) fn dismiss(&self, sockets: &Sockets) {
        let clients = std::mem::take(&mut self.state.lock().clients);
        for client in clients {
            control::left(sockets, &client, "server namespace disconnect");
            self.push_packet(sockets, &socketio::disconnect(&client.namespace), &[]);
        }
        self.outbox.flush();
        self.finish(sockets, CloseReason::ForcedClose);
    }

    pub(super) fn end(&self, sockets: &Sockets, reason: CloseReason, last: Frame) {
        let (clients, probe, transport, leaving) = {
            let mut state = self.state.lock();
            if state.ended.is_some() {
                return;
            }
            state.ended = Some(reason);
            let leaving = self.leaving.lock();
            // With the state, so that a poll which finds the session ended finds its last packet too; and before an
            // embedder's code runs, which might not return.
            self.outbox.shut(Some(last));
            (std::mem::take(&mut state.clients), state.probe.take(), state.engine.transport(), leaving)
        };
        sockets.metrics.ended(transport, reason);
        if reason == CloseReason::SlowConsumer {
            sockets.metrics.limit("outbox_bytes_max");
        }
        let remote = self.handshake.address();
        match reason {
            CloseReason::TransportClose | CloseReason::ServerShutdown => {
                tracing::debug!(%remote, code = code(reason), "a session ended");
            }
            _ => tracing::info!(%remote, code = code(reason), "a session was closed"),
        }
        if let Some(probe) = probe {
            probe.notify_one();
        }
        for client in &clients {
            control::depart(sockets, client, true);
        }
        drop(leaving);
        for client in &clients {
            control::departed(sockets, client, &reason.to_string());
        }
    }

    pub(super) fn transport(&self) -> Transport {
        self.state.lock().engine.transport()
    }

    /// A GET or POST arrived on polling.
    pub(super) fn begin(&self, sockets: &Sockets, method: Method) -> Result<(), Unfit> {
        let mut state = self.state.lock();
        if state.engine.transport() != Transport::Polling {
            return Err(Unfit::OtherTransport);
        }
        if state.ended.is_some() {
            return Err(Unfit::Ended);
        }
        let begun = match method {
            Method::Poll => state.engine.begin_poll(),
            Method::Post => state.engine.begin_post(),
        };
        drop(state);
        begun.map_err(|reason| {
            self.close(sockets, reason);
            Unfit::Concurrent
        })
    }

    /// The request was answered.
    pub(super) fn done(&self, method: Method) {
        let mut state = self.state.lock();
        match method {
            Method::Poll => state.engine.end_poll(),
            Method::Post => state.engine.end_post(),
        }
    }

    /// Whether polls have to end, because the client waits for that to change the transport.
    pub(super) fn hurries_polls(&self) -> bool {
        self.state.lock().engine.hurries_polls()
    }

    /// A WebSocket has connected for this session. `None`: it is not wanted.
    pub(super) fn begin_probe(&self, sockets: &Sockets, now: Instant) -> Option<Arc<Notify>> {
        let mut state = self.state.lock();
        if state.ended.is_some() || !state.engine.begin_probe(&self.endpoint.settings, now) {
            return None;
        }
        let given_up = Arc::new(Notify::new());
        state.probe = Some(Arc::clone(&given_up));
        self.advance_alarm(sockets, state);
        Some(given_up)
    }

    /// Takes a packet of the probing connection.
    pub(super) fn probe(&self, sockets: &Sockets, packet: &Packet<'_>, now: Instant) -> Probe {
        let mut state = self.state.lock();
        if state.ended.is_some() {
            return Probe::Abandoned;
        }
        let probe = state.engine.probe(packet, &self.endpoint.settings, now);
        if probe != Probe::Answer {
            state.probe = None;
        }
        if probe == Probe::Upgraded {
            sockets.metrics.upgraded();
        }
        probe
    }

    /// The probing connection of this signal is gone. Another one may have taken its place already.
    pub(super) fn end_probe(&self, given_up: &Arc<Notify>) {
        let mut state = self.state.lock();
        if state.probe.as_ref().is_some_and(|probe| Arc::ptr_eq(probe, given_up)) {
            state.engine.end_probe();
            state.probe = None;
        }
    }
}

/// A reason in the form of the other codes.
const fn code(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::TransportError => "transport_error",
        CloseReason::TransportClose => "transport_close",
        CloseReason::PingTimeout => "ping_timeout",
        CloseReason::ParseError => "parse_error",
        CloseReason::ForcedClose => "forced_close",
        CloseReason::SlowConsumer => "slow_consumer",
        CloseReason::ServerShutdown => "server_shutting_down",
    }
}

/// What a polling request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// GET: takes what waits.
    Poll,
    /// POST: brings packets.
    Post,
}

impl State {
    fn deadline(&self) -> Instant {
        let tokens = self.clients.iter().filter_map(|client| client.token_moment());
        tokens.chain(self.connect_by).fold(self.engine.deadline(), Instant::min)
    }

    fn take_client(&mut self, sockets: &Sockets, namespace: &str) -> Option<Arc<Client>> {
        let at = self.clients.iter().position(|client| *client.namespace == *namespace)?;
        let client = self.clients.swap_remove(at);
        if self.clients.is_empty() {
            // It may join another namespace, but not hold a connection for nothing. The alarm that is set
            // comes long before this.
            self.connect_by = Some(now() + NAMESPACELESS_FACTOR * sockets.settings.connect_timeout);
        }
        Some(client)
    }
}
