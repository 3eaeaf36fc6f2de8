//! The events of the recent past, bounded by bytes and by time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What an entry costs besides its bytes.
const ENTRY_OVERHEAD_BYTES: usize = 128;

pub(super) struct Ring<E> {
    bytes_max: usize,
    age_max: Duration,
    entries: VecDeque<Entry<E>>,
    bytes: usize,
    /// The position of the last event.
    last: u64,
    /// The last event that had to go.
    evicted: Option<(u64, Instant)>,
}

struct Entry<E> {
    event: E,
    bytes: usize,
    at: Instant,
}

/// Some events in their order.
pub(crate) struct Chunk<E> {
    pub(crate) events: Vec<E>,
    /// The position of the last one, or where to go on from.
    pub(crate) position: u64,
}

impl<E: Clone> Ring<E> {
    pub(super) const fn new(bytes_max: usize, age_max: Duration) -> Self {
        Self { bytes_max, age_max, entries: VecDeque::new(), bytes: 0, last: 0, evicted: None }
    }

    /// Returns the event, and whether others had to go for it before their time.
    pub(super) fn push(&mut self, bytes: usize, now: Instant, make: impl FnOnce(u64) -> E) -> (E, bool) {
        self.last += 1;
        let event = make(self.last);
        let bytes = bytes + ENTRY_OVERHEAD_BYTES;
        self.entries.push_back(Entry { event: event.clone(), bytes, at: now });
        self.bytes += bytes;
        let was_too_much = self.forget(now);
        (event, was_too_much)
    }

    pub(super) const fn last(&self) -> u64 {
        self.last
    }

    pub(super) fn size(&self) -> (usize, usize) {
        (self.entries.len(), self.bytes)
    }

    /// Events behind a position. `None` if one is gone that was sent after `doubtful_since`; `None` there doubts all.
    pub(super) fn after(
        &self,
        position: u64,
        doubtful_since: Option<Instant>,
        max: usize,
    ) -> Option<Chunk<E>> {
        if let Some((evicted, at)) = self.evicted
            && evicted > position
            && doubtful_since.is_none_or(|since| at >= since)
        {
            return None;
        }
        let first = self.first();
        let skipped = (position + 1).saturating_sub(first) as usize;
        let events: Vec<E> =
            self.entries.iter().skip(skipped).take(max).map(|entry| entry.event.clone()).collect();
        let begin = first + skipped.min(self.entries.len()) as u64;
        let position = (begin + events.len() as u64 - 1).max(position);
        Some(Chunk { events, position })
    }

    fn first(&self) -> u64 {
        self.last + 1 - self.entries.len() as u64
    }

    /// Drops what is too old, and what is too much. Returns whether anything was too much.
    pub(super) fn forget(&mut self, now: Instant) -> bool {
        let mut was_too_much = false;
        while let Some(oldest) = self.entries.front() {
            let is_old = now.saturating_duration_since(oldest.at) > self.age_max;
            let is_too_much = self.bytes > self.bytes_max;
            if !is_old && !is_too_much {
                break;
            }
            was_too_much |= !is_old;
            self.evicted = Some((self.first(), oldest.at));
            self.bytes -= oldest.bytes;
            self.entries.pop_front();
        }
        if self.entries.capacity() > 4 * self.entries.len().max(64) {
            self.entries.shrink_to(2 * self.entries.len());
        }
        was_too_much
    }
}
