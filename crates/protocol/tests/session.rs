//! A session against a model, over random walks of ticks, packets, polls and probes.
//!
//! The model keeps no state but a log of what happened when, and works everything out of it anew each
//! time: what was said last, and since when which clock runs.
#![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]

use std::time::{Duration, Instant};

use idae_socket_protocol::engineio::{
    CloseReason, Due, Message, Packet, Probe, Session, Settings, Transport,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

const PING_INTERVAL_MS: u64 = 300;
const PING_TIMEOUT_MS: u64 = 200;
const UPGRADE_TIMEOUT_MS: u64 = 250;

const SETTINGS: Settings = Settings {
    ping_interval: Duration::from_millis(PING_INTERVAL_MS),
    ping_timeout: Duration::from_millis(PING_TIMEOUT_MS),
    upgrade_timeout: Duration::from_millis(UPGRADE_TIMEOUT_MS),
    payload_bytes_max: 1000,
    offers_upgrade: true,
};

/// What is done to the session next.
#[derive(Debug, Clone, Copy)]
enum Step {
    Wait(u64),
    /// Goes to just before the deadline, where nothing may be due, and then to the deadline.
    WaitForDeadline,
    Tick,
    Receive(Sent),
    Poll,
    EndPoll,
    Post,
    EndPost,
    BeginProbe,
    Probe(Sent),
    EndProbe,
}

#[derive(Debug, Clone, Copy)]
enum Sent {
    Pong,
    Message,
    Ignored,
    Close,
    Ping,
    PingProbe,
    Upgrade,
}

impl Sent {
    const fn packet(self) -> Packet<'static> {
        match self {
            Self::Pong => Packet::Pong(""),
            Self::Message => Packet::Message(Message::Text("x")),
            Self::Ignored => Packet::Noop,
            Self::Close => Packet::Close,
            Self::Ping => Packet::Ping(""),
            Self::PingProbe => Packet::Ping("probe"),
            Self::Upgrade => Packet::Upgrade,
        }
    }
}

/// What the model remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Opened,
    Pinged,
    Ponged,
    /// Any other packet on the session's transport.
    Heard,
    ProbeBegun,
    ProbeAnswered,
    ProbeEnded,
    Upgraded,
}

#[derive(Debug)]
struct Model {
    born: Transport,
    log: Vec<(u64, Event)>,
    polls: bool,
    posts: bool,
}

impl Model {
    fn new(born: Transport) -> Self {
        Self { born, log: vec![(0, Event::Opened)], polls: false, posts: false }
    }

    fn transport(&self) -> Transport {
        if self.log.iter().any(|(_, event)| *event == Event::Upgraded) {
            Transport::Websocket
        } else {
            self.born
        }
    }

    /// The events since the client was last known to be alive for sure.
    fn beat(&self) -> &[(u64, Event)] {
        let mut from = 0;
        for (index, (_, event)) in self.log.iter().enumerate() {
            // The upgrade forgives a ping that was not answered, but sets back no clock otherwise.
            let awaits = self.log[from..index].iter().any(|(_, event)| *event == Event::Pinged);
            match event {
                Event::Opened | Event::Ponged => from = index,
                Event::Upgraded if awaits => from = index,
                _ => {}
            }
        }
        &self.log[from..]
    }

    fn awaits_pong(&self) -> bool {
        self.beat().iter().any(|(_, event)| *event == Event::Pinged)
    }

    fn heartbeat_ms(&self) -> u64 {
        let beat = self.beat();
        let ping_due = beat[0].0 + PING_INTERVAL_MS;
        let Some(pinged) = beat.iter().position(|(_, event)| *event == Event::Pinged) else {
            return ping_due;
        };
        match beat[pinged..].iter().find(|(_, event)| *event == Event::Heard) {
            Some((heard, _)) => heard + PING_TIMEOUT_MS,
            None => (ping_due + PING_TIMEOUT_MS).max(beat[pinged].0 + PING_TIMEOUT_MS / 2),
        }
    }

    /// The events since a probe began that is still there.
    fn probing(&self) -> Option<&[(u64, Event)]> {
        let begun = self.log.iter().rposition(|(_, event)| *event == Event::ProbeBegun)?;
        let since = &self.log[begun..];
        let is_over = since.iter().any(|(_, event)| matches!(event, Event::ProbeEnded | Event::Upgraded));
        (!is_over).then_some(since)
    }

    fn is_answered(&self) -> bool {
        self.probing().is_some_and(|since| since.iter().any(|(_, event)| *event == Event::ProbeAnswered))
    }

    fn probe_ms(&self) -> Option<u64> {
        Some(self.probing()?[0].0 + UPGRADE_TIMEOUT_MS)
    }

    fn deadline_ms(&self) -> u64 {
        self.probe_ms().map_or(self.heartbeat_ms(), |probe| probe.min(self.heartbeat_ms()))
    }

    fn tick(&mut self, now: u64) -> Option<Due> {
        if self.probe_ms().is_some_and(|until| until <= now) {
            self.log.push((now, Event::ProbeEnded));
            return Some(Due::ProbeTimeout);
        }
        if now < self.heartbeat_ms() {
            return None;
        }
        if self.awaits_pong() {
            return Some(Due::PingTimeout);
        }
        self.log.push((now, Event::Pinged));
        Some(Due::Ping)
    }

    fn receive(&mut self, sent: Sent, now: u64) -> Result<bool, CloseReason> {
        self.log.push((now, if matches!(sent, Sent::Pong) { Event::Ponged } else { Event::Heard }));
        match sent {
            Sent::Message => Ok(true),
            Sent::Pong | Sent::Ignored | Sent::Upgrade => Ok(false),
            Sent::Close => Err(CloseReason::TransportClose),
            Sent::Ping | Sent::PingProbe => Err(CloseReason::TransportError),
        }
    }

    fn begin_probe(&mut self, now: u64) -> bool {
        let is_wanted = self.transport() == Transport::Polling && self.probing().is_none();
        if is_wanted {
            self.log.push((now, Event::ProbeBegun));
        }
        is_wanted
    }

    fn probe(&mut self, sent: Sent, now: u64) -> Probe {
        let (event, answer) = match sent {
            Sent::PingProbe if self.probing().is_some() => (Event::ProbeAnswered, Probe::Answer),
            Sent::Upgrade if self.probing().is_some() => (Event::Upgraded, Probe::Upgraded),
            _ => (Event::ProbeEnded, Probe::Abandoned),
        };
        self.log.push((now, event));
        answer
    }
}

/// A session, its model, and the time both are at.
struct Walk {
    session: Session,
    model: Model,
    start: Instant,
    now_ms: u64,
    /// Pings that neither a pong nor an upgrade has settled.
    unanswered: u32,
    is_over: bool,
}

impl Walk {
    fn new(transport: Transport) -> Self {
        let start = Instant::now();
        Self {
            session: Session::open(transport, &SETTINGS, start),
            model: Model::new(transport),
            start,
            now_ms: 0,
            unanswered: 0,
            is_over: false,
        }
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.now_ms)
    }

    fn step(&mut self, step: Step) {
        let now = self.now();
        match step {
            Step::Wait(millis) => self.now_ms += millis,
            Step::WaitForDeadline => self.wait_for_deadline(),
            Step::Tick => self.tick(),
            Step::Receive(sent) => self.receive(sent),
            Step::Poll => {
                let is_second = std::mem::replace(&mut self.model.polls, true);
                self.begin(is_second, Session::begin_poll);
            }
            Step::EndPoll => {
                self.model.polls = false;
                self.session.end_poll();
            }
            Step::Post => {
                let is_second = std::mem::replace(&mut self.model.posts, true);
                self.begin(is_second, Session::begin_post);
            }
            Step::EndPost => {
                self.model.posts = false;
                self.session.end_post();
            }
            Step::BeginProbe => {
                assert_eq!(self.session.begin_probe(&SETTINGS, now), self.model.begin_probe(self.now_ms));
            }
            Step::Probe(sent) => {
                let answer = self.session.probe(&sent.packet(), &SETTINGS, now);
                assert_eq!(answer, self.model.probe(sent, self.now_ms));
                if answer == Probe::Upgraded {
                    self.unanswered = 0;
                }
            }
            Step::EndProbe => {
                self.model.log.push((self.now_ms, Event::ProbeEnded));
                self.session.end_probe();
            }
        }
        self.compare();
    }

    fn wait_for_deadline(&mut self) {
        let deadline_ms = self.model.deadline_ms();
        if self.now_ms < deadline_ms {
            self.now_ms = deadline_ms - 1;
            assert_eq!(self.session.tick(&SETTINGS, self.now()), None, "nothing is due before the deadline");
            self.now_ms = deadline_ms;
        }
        let before = self.model.log.len();
        self.tick();
        assert!(self.is_over || self.model.log.len() > before, "something is due at the deadline");
    }

    /// Does all that is due, as the owner of a session does it.
    fn tick(&mut self) {
        loop {
            let due = self.session.tick(&SETTINGS, self.now());
            assert_eq!(due, self.model.tick(self.now_ms));
            match due {
                Some(Due::Ping) => {
                    self.unanswered += 1;
                    assert_eq!(self.unanswered, 1, "a ping is sent only when the last one was answered");
                }
                Some(Due::PingTimeout) => {
                    assert_eq!(self.unanswered, 1, "only an unanswered ping times out");
                    self.is_over = true;
                    return;
                }
                Some(Due::ProbeTimeout) => assert!(!self.session.is_probing()),
                None => break,
            }
        }
        assert!(self.session.deadline() > self.now(), "what was due is done");
    }

    fn receive(&mut self, sent: Sent) {
        let received = self.session.receive(sent.packet(), &SETTINGS, self.now());
        let received = received.map(|message| message.is_some());
        assert_eq!(received, self.model.receive(sent, self.now_ms));
        match sent {
            Sent::Pong => self.unanswered = 0,
            _ => self.is_over |= received.is_err(),
        }
    }

    fn begin(&mut self, is_second: bool, begin: fn(&mut Session) -> Result<(), CloseReason>) {
        let expected = if is_second { Err(CloseReason::TransportError) } else { Ok(()) };
        assert_eq!(begin(&mut self.session), expected);
        self.is_over |= is_second;
    }

    fn compare(&self) {
        let Self { session, model, .. } = self;
        assert_eq!(session.transport(), model.transport());
        assert_eq!(session.is_probing(), model.probing().is_some());
        assert_eq!(session.hurries_polls(), model.is_answered());
        let deadline = session.deadline().duration_since(self.start);
        assert_eq!(deadline, Duration::from_millis(model.deadline_ms()));
    }
}

fn step() -> impl Strategy<Value = Step> {
    let sent = || {
        prop_oneof![
            6 => Just(Sent::Pong),
            6 => Just(Sent::Message),
            2 => Just(Sent::Ignored),
            1 => Just(Sent::Close),
            1 => Just(Sent::Ping),
            4 => Just(Sent::PingProbe),
            4 => Just(Sent::Upgrade),
        ]
    };
    let received = prop_oneof![9 => Just(Sent::Pong), 9 => Just(Sent::Message), 1 => sent()];
    prop_oneof![
        6 => (0..200_u64).prop_map(Step::Wait),
        // Somebody who was away for long: a process that was stopped, a machine that slept.
        1 => (0..5000_u64).prop_map(Step::Wait),
        6 => Just(Step::WaitForDeadline),
        3 => Just(Step::Tick),
        6 => received.prop_map(Step::Receive),
        1 => Just(Step::Poll),
        2 => Just(Step::EndPoll),
        1 => Just(Step::Post),
        2 => Just(Step::EndPost),
        2 => Just(Step::BeginProbe),
        3 => sent().prop_map(Step::Probe),
        1 => Just(Step::EndProbe),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 3000,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(5),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_session_does_what_its_model_does(
        is_polling in any::<bool>(),
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut walk = Walk::new(if is_polling { Transport::Polling } else { Transport::Websocket });
        for step in steps {
            walk.step(step);
            if walk.is_over {
                break;
            }
        }
    }

    /// Whatever else a client does: if it does not answer its ping, it is closed in good time.
    #[test]
    fn a_client_that_never_answers_is_closed(
        messages in prop::collection::vec(1..PING_TIMEOUT_MS, 0..20),
    ) {
        let mut walk = Walk::new(Transport::Polling);
        for wait in messages {
            walk.step(Step::Wait(wait));
            walk.step(Step::Tick);
            if walk.is_over {
                break;
            }
            walk.step(Step::Receive(Sent::Message));
        }
        while !walk.is_over {
            walk.step(Step::WaitForDeadline);
        }
        // The ping may be late by a wait, and its answer by one more timeout and the wait that sees it.
        prop_assert!(walk.now_ms <= PING_INTERVAL_MS + 4 * PING_TIMEOUT_MS, "closed after {} ms", walk.now_ms);
    }
}
