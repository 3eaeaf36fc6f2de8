//! The one road of an event: was it here before? → encode → into the history → deliver.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use idae_socket_protocol::socketio::namespace_prefix;
use idae_socket_protocol::websocket::Frame;
use parking_lot::Mutex;

use crate::auth::Identity;
use crate::history::{History, OFFSET_BYTES};
use crate::hub::{self, Delivery, Hub, Stay, Target};
use crate::observe::{Metrics, Sample};

/// An event on its way out.
pub(crate) struct Event<'a> {
    /// A checked name: it needs no escaping in JSON.
    pub(crate) name: &'a str,
    /// The one argument, as JSON text in pieces.
    pub(crate) argument: &'a [&'a str],
    pub(crate) target: Target,
    pub(crate) volatile: bool,
    /// The publisher's id for the event, and who that publisher is.
    pub(crate) id: Option<EventId<'a>>,
}

/// An id counts for one publisher, one namespace and one event name: two backends that number their
/// events do not silence each other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EventId<'a> {
    pub(crate) publisher: &'a str,
    pub(crate) id: &'a str,
}

/// What the publisher is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) id: String,
    pub(crate) sockets: usize,
}

impl Receipt {
    /// As publishers over HTTP get it.
    pub(crate) fn to_json(&self) -> String {
        let Self { id, sockets } = self;
        // Nearly every id is one that needs no escaping.
        let is_plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        if is_plain {
            return format!(r#"{{"status":"ok","id":"{id}","sockets":{sockets}}}"#);
        }
        format!(r#"{{"status":"ok","id":{},"sockets":{sockets}}}"#, serde_json::Value::from(id.as_str()))
    }
}

/// The same event is being published at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InFlight;

/// The events of the recent past, and the sockets that may come back for them.
pub(crate) type Memory = History<Arc<hub::Event>, Departed>;

/// A socket that is away.
#[derive(Debug, Clone)]
pub(crate) struct Departed {
    pub(crate) namespace: Box<str>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) stay: Stay,
    /// It had come back, was sent what lies behind this position, and nothing has shown that it got to the
    /// end of that.
    pub(crate) unproven: Option<u64>,
}

impl Departed {
    /// What remembering it costs, roughly.
    pub(crate) fn bytes(&self) -> usize {
        const OVERHEAD_BYTES: usize = 512;
        const VISIT_BYTES: usize = 64;
        let rooms: usize = self.stay.visits.iter().map(|visit| visit.room.len() + VISIT_BYTES).sum();
        OVERHEAD_BYTES + rooms
    }
}

/// How often the history is looked at when nobody publishes.
const TIDY_INTERVAL: Duration = Duration::from_secs(30);

/// What stands behind the argument of an event with an offset: `,"offset"]`.
const TAIL_BYTES: usize = 4 + OFFSET_BYTES;

/// Publishes events to the sockets of this gateway.
pub(crate) struct Road {
    hub: Arc<Hub>,
    history: Arc<Memory>,
    seen: Mutex<Seen>,
    /// Held while an event gets its position and its place in every shard, so that both orders are one.
    order: Mutex<()>,
    metrics: Arc<Metrics>,
}

impl Road {
    /// Remembers at most `ids_max` event ids, each for `window`; a window of zero remembers none.
    pub(crate) fn new(
        hub: Arc<Hub>,
        history: Arc<Memory>,
        window: Duration,
        ids_max: usize,
        metrics: Arc<Metrics>,
    ) -> Self {
        let seen = Mutex::new(Seen { window, ids_max, ..Seen::default() });
        Self { hub, history, seen, order: Mutex::new(()), metrics }
    }

    /// Publishes an event, unless it was published before. From here on it is out, even if its publisher hangs up.
    ///
    /// # Errors
    /// An event of the same id is on its way and not answered yet.
    pub(crate) fn publish(&self, event: Event<'_>) -> Result<Publication<'_>, InFlight> {
        let Event { name, argument, target, volatile, id } = event;
        let Some(EventId { publisher, id }) = id else {
            let out = Out::Once(self.deliver(name, argument, target, volatile));
            return Ok(Publication { road: self, id: hub::new_sid(0).to_string(), out });
        };
        let key = format!("{publisher}\0{}\0{name}\0{id}", target.namespace);
        let (before, was_too_much) = self.seen.lock().begin(&key, Instant::now());
        if was_too_much {
            self.metrics.limit("idempotency_ids_max");
        }
        let out = match before {
            Before::New => {
                let delivery = self.deliver(name, argument, target, volatile);
                Out::Remembered(Remembered { road: self, key, delivery })
            }
            Before::Done(sockets) => Out::Before(sockets),
            Before::InFlight => return Err(InFlight),
        };
        Ok(Publication { road: self, id: id.to_owned(), out })
    }

    /// Lets go of what is too old, for ever; one task of the gateway.
    pub(crate) async fn tidy(&self) {
        let mut turns = tokio::time::interval(TIDY_INTERVAL);
        loop {
            turns.tick().await;
            self.history.tidy(Instant::now());
        }
    }

    /// What is to be told about hub and history at this moment.
    pub(crate) fn sample(&self) -> Sample {
        self.history.tidy(Instant::now());
        let (sockets, rooms) = self.hub.counts();
        let (history_events, history_bytes) = self.history.size();
        Sample {
            sockets,
            rooms,
            history_events,
            history_bytes,
            recoverable: self.history.away(),
            backlog_bytes: self.hub.backlog(),
        }
    }

    /// Takes an event up and fans it out. `name` needs no escaping in JSON.
    pub(crate) fn deliver(&self, name: &str, argument: &[&str], target: Target, volatile: bool) -> Delivery {
        self.metrics.published();
        let mut frame = encode(&target.namespace, name, argument, self.history.is_on());
        let now = Instant::now();
        let order = self.order.lock();
        let event = if !self.history.is_on() {
            Arc::new(hub::Event::new(target, volatile, 0, frame, 0))
        } else if volatile {
            // It has the place of the event before it: whoever has this one has that one too.
            let position = self.history.position();
            frame.overwrite(2 + OFFSET_BYTES, &self.history.offset(position));
            Arc::new(hub::Event::new(target, volatile, position, frame, TAIL_BYTES))
        } else {
            let bytes = frame.len() + target.bytes();
            let (event, was_too_much) = self.history.push(bytes, now, |position| {
                frame.overwrite(2 + OFFSET_BYTES, &self.history.offset(position));
                Arc::new(hub::Event::new(target, volatile, position, frame, TAIL_BYTES))
            });
            if was_too_much {
                self.metrics.limit("recovery_bytes_max");
            }
            event
        };
        let delivery = self.hub.enqueue(event, now);
        drop(order);
        self.hub.run();
        delivery
    }
}

/// `42/namespace,["name",argument]`, once for all sockets; with room for an offset behind the argument.
fn encode(namespace: &str, name: &str, argument: &[&str], with_offset: bool) -> Frame {
    const BLANK: &str = match std::str::from_utf8(&[b'_'; OFFSET_BYTES]) {
        Ok(blank) => blank,
        Err(_) => "",
    };
    let prefix = namespace_prefix(namespace);
    let head = ["42", &prefix, "[\"", name, "\","];
    let tail: &[&str] = if with_offset { &[",\"", BLANK, "\"]"] } else { &["]"] };
    Frame::text_from_parts([&head, argument, tail].into_iter().flatten().copied())
}

/// An event that is out, and whose publisher is to be answered.
pub(crate) struct Publication<'a> {
    road: &'a Road,
    id: String,
    out: Out<'a>,
}

enum Out<'a> {
    Once(Delivery),
    Remembered(Remembered<'a>),
    /// It was published before, to so many sockets.
    Before(usize),
}

impl Publication<'_> {
    /// Resolves when the event is queued on every matching socket and the backlog is below its limit.
    /// `key` is the name of the publisher's key, for the log.
    pub(crate) async fn receipt(self, key: Option<&str>) -> Receipt {
        let Self { road, id, out } = self;
        let delivery = match &out {
            Out::Before(sockets) => return Receipt { id, sockets: *sockets },
            Out::Once(delivery) => delivery,
            Out::Remembered(remembered) => &remembered.delivery,
        };
        let sockets = delivery.sockets().await;
        // A repeat may be answered from here on.
        drop(out);
        if road.hub.is_full() {
            road.metrics.limit("queue_bytes_max");
            road.hub.drained().await;
        }
        tracing::debug!(id, sockets, key, "published");
        Receipt { id, sockets }
    }
}

/// Writes down how a publication ended, also when its publisher is not there to hear it.
struct Remembered<'a> {
    road: &'a Road,
    key: String,
    delivery: Delivery,
}

impl Drop for Remembered<'_> {
    fn drop(&mut self) {
        self.road.seen.lock().finish(&self.key, self.delivery.sockets_so_far(), Instant::now());
    }
}

/// The event ids of the recent past.
#[derive(Default)]
struct Seen {
    window: Duration,
    ids_max: usize,
    ids: HashMap<Arc<str>, State>,
    /// In the order in which they are forgotten.
    order: VecDeque<(Instant, Arc<str>)>,
}

#[derive(Clone, Copy)]
enum State {
    InFlight,
    Done { sockets: usize },
}

enum Before {
    New,
    InFlight,
    Done(usize),
}

impl Seen {
    /// Returns also whether ids had to be forgotten before their time.
    fn begin(&mut self, key: &str, now: Instant) -> (Before, bool) {
        let mut was_too_much = false;
        while let Some((until, oldest)) = self.order.front() {
            if *until > now && self.order.len() <= self.ids_max {
                break;
            }
            was_too_much |= *until > now;
            self.ids.remove(oldest);
            self.order.pop_front();
        }
        let before = match self.ids.get(key) {
            Some(State::Done { sockets }) => Before::Done(*sockets),
            Some(State::InFlight) => Before::InFlight,
            None => {
                self.ids.insert(Arc::from(key), State::InFlight);
                Before::New
            }
        };
        (before, was_too_much)
    }

    fn finish(&mut self, key: &str, sockets: usize, now: Instant) {
        let Some((key, _)) = self.ids.remove_entry(key) else { return };
        if !self.window.is_zero() {
            self.order.push_back((now + self.window, Arc::clone(&key)));
            self.ids.insert(key, State::Done { sockets });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(ids_max: usize) -> Seen {
        Seen { window: Duration::from_secs(300), ids_max, ..Seen::default() }
    }

    #[test]
    fn a_repeat_within_the_window_is_answered_as_before() {
        let (mut seen, now) = (seen(10), Instant::now());
        assert!(matches!(seen.begin("a", now), (Before::New, false)));
        assert!(matches!(seen.begin("a", now), (Before::InFlight, false)));
        seen.finish("a", 7, now);
        assert!(matches!(seen.begin("a", now + Duration::from_secs(299)), (Before::Done(7), false)));
        assert!(matches!(seen.begin("a", now + Duration::from_secs(300)), (Before::New, false)));
    }

    #[test]
    fn the_oldest_ids_are_forgotten_first() {
        let (mut seen, now) = (seen(3), Instant::now());
        for key in ["a", "b", "c", "d"] {
            seen.begin(key, now);
            seen.finish(key, 1, now);
        }
        assert!(matches!(seen.begin("d", now), (Before::Done(1), true)));
        assert!(matches!(seen.begin("a", now), (Before::New, false)));
        assert_eq!(seen.ids.len(), 4, "three remembered and one in flight");
    }
}
