//! What was said: the events that somebody who comes back may have missed, and who may come back.
//!
//! There is one entry per event, however many sockets it was for, and one per socket that is away. Nothing here
//! knows what an event or a socket is; `E` and `P` are what the others make of them.
//!
//! Invariants
//! * Positions grow by one and are never used again. An offset of another life of the gateway is none.
//! * An offset is accepted only if every event behind it that could be missing is still here.
//! * Of those who claim one socket at the same time one gets it.

mod pid;
mod ring;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use idae_socket_protocol::Sid;
use parking_lot::Mutex;

use self::pid::Pids;
pub(crate) use self::ring::Chunk;
use self::ring::Ring;
use crate::recent::Recent;

/// Bytes of an offset as clients get it: the epoch and the position.
pub(crate) const OFFSET_BYTES: usize = EPOCH_BYTES + POSITION_BYTES;
const EPOCH_BYTES: usize = 6;
const POSITION_BYTES: usize = 10;

/// The alphabet of offsets, in the order of its values.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// For so long nobody else may claim what somebody has just claimed. Stock clients wait at least half a
/// second before they come back, so one whose claim was lost on the way is not shut out.
const CLAIM_TIME: Duration = Duration::from_millis(300);

/// Claims that are remembered. They last a moment.
const CLAIMS_MAX: usize = 100_000;

/// What is remembered, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// For how long somebody may be away; zero remembers nothing.
    pub(crate) window: Duration,
    /// How long a connection may be dead before that is noticed: what was sent in that time may be missing too.
    pub(crate) notice_time: Duration,
    /// Bytes of events, and half as many for the sockets that are away.
    pub(crate) bytes_max: usize,
}

/// The events of the recent past, and the sockets that are away.
pub(crate) struct History<E, P> {
    settings: Settings,
    /// Differs from one start of the gateway to the next.
    epoch: [u8; EPOCH_BYTES],
    ring: Mutex<Ring<E>>,
    pids: Pids,
    away: Mutex<Recent<Sid, Away<P>>>,
    claims: Mutex<Recent<Sid, ()>>,
}

/// Somebody who may come back.
#[derive(Clone)]
pub(crate) struct Away<P> {
    pub(crate) what: P,
    pub(crate) doubt: Doubt,
}

/// From when on events may be missing that were sent to a connection: what is older has arrived, because the
/// connection was alive after it. `None`: whatever was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Doubt(Option<Instant>);

impl<E: Clone, P: Clone> History<E, P> {
    pub(crate) fn new(settings: Settings) -> Self {
        let epoch = rand::random::<[u8; EPOCH_BYTES]>().map(|byte| ALPHABET[usize::from(byte % 64)]);
        Self {
            settings,
            epoch,
            ring: Mutex::new(Ring::new(settings.bytes_max, settings.window + settings.notice_time)),
            pids: Pids::new(),
            away: Mutex::new(Recent::new(settings.bytes_max / 2)),
            claims: Mutex::new(Recent::new(CLAIMS_MAX)),
        }
    }

    /// Whether anything is remembered.
    pub(crate) const fn is_on(&self) -> bool {
        !self.settings.window.is_zero()
    }

    /// Takes an event up at the next position. `make` gets that position and must be quick: everybody else
    /// who publishes waits for it. Returns the event, and whether others had to be forgotten for it before their time.
    pub(crate) fn push(&self, bytes: usize, now: Instant, make: impl FnOnce(u64) -> E) -> (E, bool) {
        self.ring.lock().push(bytes, now, make)
    }

    /// The position of the last event that was taken up.
    pub(crate) fn position(&self) -> u64 {
        self.ring.lock().last()
    }

    /// Events behind a position, at most `max` of them. `None` if one may be missing of those that somebody with
    /// these doubts may not have.
    pub(crate) fn after(&self, position: u64, doubt: Doubt, max: usize) -> Option<Chunk<E>> {
        self.ring.lock().after(position, doubt.0, max)
    }

    /// How many events are kept, and how many bytes they are.
    pub(crate) fn size(&self) -> (usize, usize) {
        self.ring.lock().size()
    }

    /// How many sockets are away and may come back.
    pub(crate) fn away(&self) -> usize {
        self.away.lock().len()
    }

    /// A position as clients get it.
    pub(crate) fn offset(&self, position: u64) -> [u8; OFFSET_BYTES] {
        let mut offset = [0; OFFSET_BYTES];
        offset[..EPOCH_BYTES].copy_from_slice(&self.epoch);
        let mut rest = position;
        for byte in offset[EPOCH_BYTES..].iter_mut().rev() {
            *byte = ALPHABET[(rest % 64) as usize];
            rest /= 64;
        }
        offset
    }

    /// The position behind a client's offset; `None` if it is no offset, or one that was never given out. One of
    /// another life stands for the begin of this: a client keeps it until its first event here.
    pub(crate) fn parse_offset(&self, offset: &str) -> Option<u64> {
        let value = |byte: &u8| ALPHABET.iter().position(|letter| letter == byte);
        let (epoch, digits) = offset.as_bytes().split_at_checked(EPOCH_BYTES)?;
        if digits.len() != POSITION_BYTES || epoch.iter().any(|byte| value(byte).is_none()) {
            return None;
        }
        let position = digits.iter().try_fold(0_u64, |sum, byte| Some(sum * 64 + value(byte)? as u64))?;
        if *epoch != self.epoch {
            return Some(0);
        }
        (position <= self.position()).then_some(position)
    }

    /// The secret by which a client proves that a socket was its own.
    pub(crate) fn pid(&self, sid: &Sid) -> String {
        self.pids.pid(sid)
    }

    /// The socket of a pid that was given out here.
    pub(crate) fn sid_of(&self, pid: &str) -> Option<Sid> {
        self.pids.sid_of(pid)
    }

    /// What may be missing of a connection that is lost now.
    pub(crate) fn doubt(&self, now: Instant) -> Doubt {
        Doubt(now.checked_sub(self.settings.notice_time))
    }

    /// Until when a connection that begins now has not shown yet that it lives.
    pub(crate) fn proven(&self, now: Instant) -> Instant {
        now + self.settings.notice_time
    }

    /// A socket is away from now on. Remembering it takes so many bytes. Returns whether others had to be
    /// forgotten for it before their time.
    pub(crate) fn leave(&self, sid: Sid, what: P, bytes: usize, doubt: Doubt, now: Instant) -> bool {
        let until = now + self.settings.window;
        let was_too_much = self.away.lock().put_heavy(sid, Away { what, doubt }, bytes, until, now);
        // Nobody holds it any more, so it can be claimed at once.
        self.claims.lock().take(&sid, now);
        was_too_much
    }

    /// What a socket that is away has left behind.
    pub(crate) fn away_as(&self, sid: &Sid, now: Instant) -> Option<P> {
        self.away.lock().get(sid, now).map(|away| away.what.clone())
    }

    /// Forgets what is too old.
    pub(crate) fn tidy(&self, now: Instant) {
        self.ring.lock().forget(now);
        self.away.lock().forget(now);
        self.claims.lock().forget(now);
    }

    /// Claims a socket for whoever has shown its pid. `false`: somebody else has just done so.
    pub(crate) fn claim(&self, sid: Sid, now: Instant) -> bool {
        let mut claims = self.claims.lock();
        if claims.get(&sid, now).is_some() {
            return false;
        }
        claims.put(sid, (), now + CLAIM_TIME, now);
        true
    }

    /// Takes a socket back. It is away no more, whatever comes of it.
    pub(crate) fn come_back(&self, sid: &Sid, now: Instant) -> Option<Away<P>> {
        self.away.lock().take(sid, now)
    }

    /// Whether all that somebody with this position may have missed is still here.
    #[cfg(test)]
    pub(crate) fn reaches(&self, position: u64, doubt: Doubt) -> bool {
        self.after(position, doubt, 0).is_some()
    }
}
