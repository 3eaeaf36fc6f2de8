//! The state of one session: its transport, its heartbeat, its upgrade.

use std::time::{Duration, Instant};

use super::{Message, Packet, Transport};
use crate::Sid;

/// Timings and limits of an endpoint, the same for all its sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// From a pong (or the handshake) to the next ping.
    pub ping_interval: Duration,
    /// From a ping to the end of a silent session.
    pub ping_timeout: Duration,
    /// From the probe's handshake to its `5`.
    pub upgrade_timeout: Duration,
    /// Largest message and largest polling request body, in bytes.
    pub payload_bytes_max: usize,
    /// Whether sessions born on polling are offered WebSocket.
    pub offers_upgrade: bool,
}

/// Why a session ended. The text is what Socket.IO calls the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CloseReason {
    /// The connection failed, or the peer broke a rule of the transport.
    #[error("transport error")]
    TransportError,
    /// The client closed.
    #[error("transport close")]
    TransportClose,
    /// A ping was not answered in time.
    #[error("ping timeout")]
    PingTimeout,
    /// What the peer sent is no packet.
    #[error("parse error")]
    ParseError,
    /// The server's side ended it.
    #[error("forced close")]
    ForcedClose,
    /// The peer did not read: its outbox passed `outbox_bytes_max`.
    #[error("slow consumer")]
    SlowConsumer,
    /// The gateway stops.
    #[error("server shutting down")]
    ServerShutdown,
}

/// What a session has to do because time passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Send a ping packet.
    Ping,
    /// The peer is silent: close the session.
    PingTimeout,
    /// The probe took too long: close its connection; the session goes on.
    ProbeTimeout,
}

/// What follows from a packet on a probing connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// `2probe`: answer `3probe` and end the pending poll.
    Answer,
    /// `5`: the session has moved here.
    Upgraded,
    /// Anything else: close this connection; the session goes on where it was.
    Abandoned,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heartbeat {
    /// The next ping is due then.
    Resting(Instant),
    /// A pong has to arrive until then.
    Awaiting { until: Instant, extended: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upgrade {
    None,
    /// A probe is connected; `answered` after its `2probe`.
    Probing {
        until: Instant,
        answered: bool,
    },
}

/// One Engine.IO session. The time is passed in; [`Session::deadline`] says when to come back.
#[derive(Debug)]
pub struct Session {
    transport: Transport,
    heartbeat: Heartbeat,
    upgrade: Upgrade,
    poll: bool,
    post: bool,
}

impl Session {
    /// A session that has just shaken hands over `transport`.
    pub fn open(transport: Transport, settings: &Settings, now: Instant) -> Self {
        Self {
            transport,
            heartbeat: Heartbeat::Resting(now + settings.ping_interval),
            upgrade: Upgrade::None,
            poll: false,
            post: false,
        }
    }

    /// The transport in use.
    pub const fn transport(&self) -> Transport {
        self.transport
    }

    /// Whether a probe is connected.
    pub const fn is_probing(&self) -> bool {
        matches!(self.upgrade, Upgrade::Probing { .. })
    }

    /// Whether polls must be ended soon, so that the client can leave them.
    pub const fn hurries_polls(&self) -> bool {
        matches!(self.upgrade, Upgrade::Probing { answered: true, .. })
    }

    /// When [`Session::tick`] has something to do at the earliest.
    pub fn deadline(&self) -> Instant {
        let heartbeat = match self.heartbeat {
            Heartbeat::Resting(until) | Heartbeat::Awaiting { until, .. } => until,
        };
        match self.upgrade {
            Upgrade::Probing { until, .. } => heartbeat.min(until),
            Upgrade::None => heartbeat,
        }
    }

    /// What is due at `now`; call again until it returns `None`.
    pub fn tick(&mut self, settings: &Settings, now: Instant) -> Option<Due> {
        if let Upgrade::Probing { until, .. } = self.upgrade
            && until <= now
        {
            self.upgrade = Upgrade::None;
            return Some(Due::ProbeTimeout);
        }
        match self.heartbeat {
            Heartbeat::Resting(until) if until <= now => {
                // Counted from when the ping was due, so that a late timer does not lengthen every
                // timeout; a very late one must not take the peer's time to answer away.
                let until = (until + settings.ping_timeout).max(now + settings.ping_timeout / 2);
                self.heartbeat = Heartbeat::Awaiting { until, extended: false };
                Some(Due::Ping)
            }
            Heartbeat::Awaiting { until, .. } if until <= now => Some(Due::PingTimeout),
            _ => None,
        }
    }

    /// Takes a packet that arrived on the session's transport.
    ///
    /// # Errors
    /// The reason for which the session is to be closed.
    pub fn receive<'a>(
        &mut self,
        packet: Packet<'a>,
        settings: &Settings,
        now: Instant,
    ) -> Result<Option<Message<'a>>, CloseReason> {
        if matches!(packet, Packet::Pong(_)) {
            self.heartbeat = Heartbeat::Resting(now + settings.ping_interval);
            return Ok(None);
        }
        // A peer that is busy sending is alive; engine.io 6.6 grants it one more timeout per ping.
        if let Heartbeat::Awaiting { until, extended: extended @ false } = &mut self.heartbeat {
            *until = now + settings.ping_timeout;
            *extended = true;
        }
        match packet {
            Packet::Message(message) => Ok(Some(message)),
            Packet::Close => Err(CloseReason::TransportClose),
            // In version 4 the server pings; a client that does speaks another protocol.
            Packet::Ping(_) => Err(CloseReason::TransportError),
            Packet::Open(_) | Packet::Pong(_) | Packet::Upgrade | Packet::Noop => Ok(None),
        }
    }

    /// Whether a ping has not been answered yet.
    pub const fn is_awaiting_pong(&self) -> bool {
        matches!(self.heartbeat, Heartbeat::Awaiting { .. })
    }

    /// The peer is not listened to for a while, so its pong may take that much longer.
    pub fn excuse(&mut self, time: Duration) {
        if let Heartbeat::Awaiting { until, .. } = &mut self.heartbeat {
            *until += time;
        }
    }

    /// A GET arrived.
    ///
    /// # Errors
    /// Another one is pending: the session is to be closed.
    pub fn begin_poll(&mut self) -> Result<(), CloseReason> {
        begin(&mut self.poll)
    }

    /// The GET was answered.
    pub fn end_poll(&mut self) {
        self.poll = false;
    }

    /// A POST arrived.
    ///
    /// # Errors
    /// Another one is being read: the session is to be closed.
    pub fn begin_post(&mut self) -> Result<(), CloseReason> {
        begin(&mut self.post)
    }

    /// The POST was answered.
    pub fn end_post(&mut self) {
        self.post = false;
    }

    /// A WebSocket connected for this session. `false`: it is not wanted (already upgraded, or
    /// another one probes) and is to be closed, which does not touch the session.
    pub fn begin_probe(&mut self, settings: &Settings, now: Instant) -> bool {
        if self.transport == Transport::Websocket || self.is_probing() {
            return false;
        }
        self.upgrade = Upgrade::Probing { until: now + settings.upgrade_timeout, answered: false };
        true
    }

    /// Takes a packet that arrived on the probing connection.
    pub fn probe(&mut self, packet: &Packet<'_>, settings: &Settings, now: Instant) -> Probe {
        match (packet, &mut self.upgrade) {
            (Packet::Ping("probe"), Upgrade::Probing { answered, .. }) => {
                *answered = true;
                Probe::Answer
            }
            (Packet::Upgrade, Upgrade::Probing { .. }) => {
                self.transport = Transport::Websocket;
                self.upgrade = Upgrade::None;
                // A pong may be lost with the transport it was meant for, so the ping in flight is
                // not held against the client.
                if matches!(self.heartbeat, Heartbeat::Awaiting { .. }) {
                    self.heartbeat = Heartbeat::Resting(now + settings.ping_interval);
                }
                Probe::Upgraded
            }
            _ => {
                self.upgrade = Upgrade::None;
                Probe::Abandoned
            }
        }
    }

    /// The probing connection is gone; another may try.
    pub fn end_probe(&mut self) {
        self.upgrade = Upgrade::None;
    }
}

fn begin(busy: &mut bool) -> Result<(), CloseReason> {
    if std::mem::replace(busy, true) { Err(CloseReason::TransportError) } else { Ok(()) }
}

/// The open packet, the first thing a client receives.
pub fn open_packet(sid: &Sid, transport: Transport, settings: &Settings) -> String {
    let upgrades = match transport {
        Transport::Polling if settings.offers_upgrade => r#""websocket""#,
        _ => "",
    };
    format!(
        r#"0{{"sid":"{sid}","upgrades":[{upgrades}],"pingInterval":{},"pingTimeout":{},"maxPayload":{}}}"#,
        settings.ping_interval.as_millis(),
        settings.ping_timeout.as_millis(),
        settings.payload_bytes_max,
    )
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings {
        ping_interval: Duration::from_millis(300),
        ping_timeout: Duration::from_millis(200),
        upgrade_timeout: Duration::from_millis(1000),
        payload_bytes_max: 1_000_000,
        offers_upgrade: true,
    };

    fn open(transport: Transport) -> (Session, Instant) {
        let now = Instant::now();
        (Session::open(transport, &SETTINGS, now), now)
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_silent_session_is_pinged_once_and_then_closed() {
        let (mut session, start) = open(Transport::Polling);
        assert_eq!(session.tick(&SETTINGS, start + ms(299)), None);
        assert_eq!(session.tick(&SETTINGS, start + ms(300)), Some(Due::Ping));
        assert_eq!(session.tick(&SETTINGS, start + ms(300)), None);
        assert_eq!(session.deadline(), start + ms(500));
        assert_eq!(session.tick(&SETTINGS, start + ms(500)), Some(Due::PingTimeout));
    }

    #[test]
    fn a_pong_starts_the_next_interval() {
        let (mut session, start) = open(Transport::Websocket);
        session.tick(&SETTINGS, start + ms(300));
        assert_eq!(session.receive(Packet::Pong("x"), &SETTINGS, start + ms(350)), Ok(None));
        assert_eq!(session.deadline(), start + ms(650));
    }

    #[test]
    fn traffic_while_a_pong_is_awaited_buys_one_more_timeout() {
        let (mut session, start) = open(Transport::Websocket);
        session.tick(&SETTINGS, start + ms(300));
        let message = || Packet::Message(Message::Text("x"));
        assert!(session.receive(message(), &SETTINGS, start + ms(450)).is_ok());
        assert_eq!(session.deadline(), start + ms(650));
        assert!(session.receive(message(), &SETTINGS, start + ms(600)).is_ok());
        assert_eq!(session.deadline(), start + ms(650));
    }

    #[test]
    fn packets_that_a_client_may_not_send_close() {
        let cases = [
            (Packet::Ping(""), Err(CloseReason::TransportError)),
            (Packet::Ping("probe"), Err(CloseReason::TransportError)),
            (Packet::Close, Err(CloseReason::TransportClose)),
            (Packet::Open("{}"), Ok(None)),
            (Packet::Upgrade, Ok(None)),
            (Packet::Noop, Ok(None)),
        ];
        for (packet, expected) in cases {
            let (mut session, now) = open(Transport::Websocket);
            assert_eq!(session.receive(packet.clone(), &SETTINGS, now), expected, "{packet:?}");
        }
    }

    #[test]
    fn one_poll_and_one_post_at_a_time() {
        let (mut session, _) = open(Transport::Polling);
        assert_eq!(session.begin_poll(), Ok(()));
        assert_eq!(session.begin_post(), Ok(()));
        assert_eq!(session.begin_poll(), Err(CloseReason::TransportError));
        assert_eq!(session.begin_post(), Err(CloseReason::TransportError));
        session.end_poll();
        assert_eq!(session.begin_poll(), Ok(()));
    }

    #[test]
    fn the_upgrade_takes_a_probe_and_a_five() {
        let (mut session, now) = open(Transport::Polling);
        assert!(session.begin_probe(&SETTINGS, now));
        assert!(!session.begin_probe(&SETTINGS, now), "one probe at a time");
        assert_eq!(session.probe(&Packet::Ping("probe"), &SETTINGS, now), Probe::Answer);
        assert!(session.hurries_polls());
        assert_eq!(session.probe(&Packet::Upgrade, &SETTINGS, now), Probe::Upgraded);
        assert_eq!(session.transport(), Transport::Websocket);
        assert!(!session.begin_probe(&SETTINGS, now), "an upgraded session takes no second socket");
    }

    #[test]
    fn a_five_without_a_probe_upgrades_too() {
        let (mut session, now) = open(Transport::Polling);
        assert!(session.begin_probe(&SETTINGS, now));
        assert_eq!(session.probe(&Packet::Upgrade, &SETTINGS, now), Probe::Upgraded);
    }

    #[test]
    fn a_wrong_probe_is_abandoned_and_another_may_try() {
        for packet in [Packet::Message(Message::Text("x")), Packet::Ping(""), Packet::Close] {
            let (mut session, now) = open(Transport::Polling);
            assert!(session.begin_probe(&SETTINGS, now));
            assert_eq!(session.probe(&packet, &SETTINGS, now), Probe::Abandoned);
            assert_eq!(session.transport(), Transport::Polling);
            assert!(session.begin_probe(&SETTINGS, now));
        }
    }

    #[test]
    fn a_probe_that_never_completes_is_dropped() {
        let settings = Settings { ping_interval: ms(5000), ..SETTINGS };
        let now = Instant::now();
        let mut session = Session::open(Transport::Polling, &settings, now);
        assert!(session.begin_probe(&settings, now));
        assert_eq!(session.deadline(), now + ms(1000));
        assert_eq!(session.tick(&settings, now + ms(1000)), Some(Due::ProbeTimeout));
        assert!(!session.is_probing());
    }

    #[test]
    fn a_ping_in_flight_is_forgiven_by_the_upgrade() {
        let (mut session, start) = open(Transport::Polling);
        assert!(session.begin_probe(&SETTINGS, start));
        assert_eq!(session.tick(&SETTINGS, start + ms(300)), Some(Due::Ping));
        session.probe(&Packet::Upgrade, &SETTINGS, start + ms(400));
        assert_eq!(session.deadline(), start + ms(700));
    }

    #[test]
    fn the_open_packet_has_its_five_keys_in_order() {
        let sid = Sid::from_bytes([0; 15]);
        assert_eq!(
            open_packet(&sid, Transport::Polling, &SETTINGS),
            r#"0{"sid":"AAAAAAAAAAAAAAAAAAAA","upgrades":["websocket"],"pingInterval":300,"pingTimeout":200,"maxPayload":1000000}"#
        );
        assert!(open_packet(&sid, Transport::Websocket, &SETTINGS).contains(r#""upgrades":[]"#));
    }
}
