//! What is remembered for a while: a map whose entries grow old, and of which there are never too many.

use std::collections::VecDeque;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::OnceCell;

/// A map that forgets: an entry when its time is over, the oldest when there are too many.
pub(crate) struct Recent<K, V> {
    entries_max: usize,
    entries: HashMap<K, Entry<V>>,
    /// In the order in which they were put. An entry that was put again has two; the later counts.
    order: VecDeque<(K, u64)>,
    puts: u64,
}

struct Entry<V> {
    value: V,
    until: Instant,
    put: u64,
}

impl<K: Hash + Eq + Clone, V> Recent<K, V> {
    pub(crate) fn new(entries_max: usize) -> Self {
        Self { entries_max, entries: HashMap::new(), order: VecDeque::new(), puts: 0 }
    }

    pub(crate) fn get<Q>(&self, key: &Q, now: Instant) -> Option<&V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.entries.get(key).filter(|entry| now < entry.until).map(|entry| &entry.value)
    }

    /// Remembers a value until then, in place of the one before.
    pub(crate) fn put(&mut self, key: K, value: V, until: Instant, now: Instant) {
        self.puts += 1;
        let put = self.puts;
        self.order.push_back((key.clone(), put));
        self.entries.insert(key, Entry { value, until, put });
        self.forget(now);
    }

    /// Forgets a value and returns it, if its time is not over.
    pub(crate) fn take(&mut self, key: &K, now: Instant) -> Option<V> {
        let entry = self.entries.remove(key)?;
        (now < entry.until).then_some(entry.value)
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn remove<Q>(&mut self, key: &Q)
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.entries.remove(key);
    }

    /// Drops what is over at the old end, and what is too much.
    pub(crate) fn forget(&mut self, now: Instant) {
        while let Some((key, put)) = self.order.front() {
            let entry = self.entries.get(key).filter(|entry| entry.put == *put);
            if let Some(entry) = entry {
                if now < entry.until && self.order.len() <= self.entries_max {
                    return;
                }
                self.entries.remove(key);
            }
            self.order.pop_front();
        }
    }
}

/// Questions that are asked once, however many want to know, and whose answers are remembered for a while.
pub(crate) struct Answers<K, V>(Mutex<Recent<K, Flight<V>>>);

/// A question that is being asked, or has been answered.
pub(crate) type Flight<V> = Arc<OnceCell<V>>;

impl<K: Hash + Eq + Clone, V> Answers<K, V> {
    /// Remembers at most so many answers.
    pub(crate) fn new(answers_max: usize) -> Self {
        Self(Mutex::new(Recent::new(answers_max)))
    }

    /// The question of this key, new or as somebody else asks it. An answer comes within `time_max`.
    pub(crate) fn question(&self, key: &K, time_max: Duration) -> Flight<V> {
        let now = Instant::now();
        let mut answers = self.0.lock();
        if let Some(flight) = answers.get(key, now) {
            return Arc::clone(flight);
        }
        let flight = Flight::default();
        // Longer than it is asked; with its answer it gets a time of its own.
        answers.put(key.clone(), Arc::clone(&flight), now + 2 * time_max, now);
        flight
    }

    /// Keeps the answer for so long; zero asks again the next time.
    pub(crate) fn keep(&self, key: K, flight: &Flight<V>, time: Duration) {
        let now = Instant::now();
        let mut answers = self.0.lock();
        if time.is_zero() {
            answers.remove(&key);
        } else {
            answers.put(key, Arc::clone(flight), now + time, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn entries_grow_old_and_are_never_too_many() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut recent = Recent::new(3);
        recent.put("a", 1, start + second, start);
        assert_eq!(recent.get("a", start), Some(&1));
        assert_eq!(recent.get("a", start + second), None);
        recent.put("a", 2, start + 9 * second, start + second);
        assert_eq!(recent.get("a", start + 2 * second), Some(&2));
        for (key, value) in [("b", 3), ("c", 4), ("d", 5)] {
            recent.put(key, value, start + 9 * second, start + second);
        }
        assert_eq!(recent.get("a", start + 2 * second), None, "the oldest had to go");
        assert_eq!(recent.get("d", start + 2 * second), Some(&5));
        assert!(recent.entries.len() <= 3 && recent.order.len() <= 3);
        recent.remove("d");
        assert_eq!(recent.get("d", start + 2 * second), None);
    }

    #[test]
    fn what_is_put_over_and_over_takes_no_more_room() {
        let now = Instant::now();
        let mut recent = Recent::new(4);
        for round in 0..100 {
            recent.put("same", round, now + Duration::from_secs(9), now);
        }
        assert_eq!(recent.get("same", now), Some(&99));
        assert!(recent.order.len() <= 4);
    }
}
