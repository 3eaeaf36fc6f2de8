//! What is remembered for a while: a map whose entries grow old, and of which there are never too many.

use std::collections::VecDeque;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::OnceCell;

/// A map that forgets: an entry when its time is over, the oldest when all together weigh too much.
pub(crate) struct Recent<K, V> {
    weight_max: usize,
    weight: usize,
    entries: HashMap<K, Entry<V>>,
    /// In the order in which they were put. An entry that was put again or is gone has one that does not count.
    order: VecDeque<(K, u64)>,
    puts: u64,
}

struct Entry<V> {
    value: V,
    until: Instant,
    weight: usize,
    put: u64,
}

impl<K: Hash + Eq + Clone, V> Recent<K, V> {
    pub(crate) fn new(weight_max: usize) -> Self {
        Self { weight_max, weight: 0, entries: HashMap::new(), order: VecDeque::new(), puts: 0 }
    }

    pub(crate) fn get(&self, key: &K, now: Instant) -> Option<&V> {
        self.entries.get(key).filter(|entry| now < entry.until).map(|entry| &entry.value)
    }

    /// Remembers a value of weight one until then, in place of the one before.
    pub(crate) fn put(&mut self, key: K, value: V, until: Instant, now: Instant) {
        self.put_heavy(key, value, 1, until, now);
    }

    /// Remembers a value until then. Returns whether others had to be forgotten for it before their time.
    pub(crate) fn put_heavy(
        &mut self,
        key: K,
        value: V,
        weight: usize,
        until: Instant,
        now: Instant,
    ) -> bool {
        self.puts += 1;
        let put = self.puts;
        self.remove(&key);
        self.order.push_back((key.clone(), put));
        self.entries.insert(key, Entry { value, until, weight, put });
        self.weight += weight;
        self.forget(now)
    }

    /// Forgets a value and returns it, if its time is not over.
    pub(crate) fn take(&mut self, key: &K, now: Instant) -> Option<V> {
        let entry = self.remove(key)?;
        (now < entry.until).then_some(entry.value)
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Drops what is over at the old end, and what is too much. Returns whether anything was too much.
    pub(crate) fn forget(&mut self, now: Instant) -> bool {
        let mut was_too_much = false;
        while let Some((key, put)) = self.order.front() {
            if let Some(entry) = self.entries.get(key).filter(|entry| entry.put == *put) {
                let is_over = now >= entry.until;
                if !is_over && self.weight <= self.weight_max {
                    break;
                }
                was_too_much |= !is_over;
                let key = key.clone();
                self.remove(&key);
            }
            self.order.pop_front();
        }
        if self.order.len() > 2 * self.entries.len() + 64 {
            let entries = &self.entries;
            self.order.retain(|(key, put)| entries.get(key).is_some_and(|entry| entry.put == *put));
        }
        was_too_much
    }

    fn remove(&mut self, key: &K) -> Option<Entry<V>> {
        let entry = self.entries.remove(key)?;
        self.weight -= entry.weight;
        Some(entry)
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
            answers.take(&key, now);
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
        assert_eq!(recent.get(&"a", start), Some(&1));
        assert_eq!(recent.get(&"a", start + second), None);
        recent.put("a", 2, start + 9 * second, start + second);
        assert_eq!(recent.get(&"a", start + 2 * second), Some(&2));
        for (key, value) in [("b", 3), ("c", 4), ("d", 5)] {
            recent.put(key, value, start + 9 * second, start + second);
        }
        assert_eq!(recent.get(&"a", start + 2 * second), None, "the oldest had to go");
        assert_eq!(recent.take(&"d", start + 2 * second), Some(5));
        assert_eq!((recent.get(&"d", start + 2 * second), recent.len()), (None, 2));
    }

    #[test]
    fn who_comes_and_goes_pushes_nobody_out() {
        let now = Instant::now();
        let later = now + Duration::from_secs(9);
        let mut recent = Recent::new(4);
        recent.put("quiet", 0, later, now);
        for round in 1..10_000 {
            recent.put("restless", round, later, now);
            if round % 2 == 0 {
                recent.take(&"restless", now);
            }
        }
        assert_eq!((recent.get(&"quiet", now), recent.get(&"restless", now)), (Some(&0), Some(&9_999)));
        assert!(recent.order.len() <= 70, "{}", recent.order.len());
    }

    #[test]
    fn what_weighs_more_leaves_less_room() {
        let now = Instant::now();
        let later = now + Duration::from_secs(9);
        let mut recent = Recent::new(10);
        assert!(!recent.put_heavy("a", (), 4, later, now));
        assert!(!recent.put_heavy("b", (), 6, later, now));
        assert!(recent.put_heavy("c", (), 5, later, now), "both had to go for it");
        assert_eq!(recent.len(), 1);
        assert!(recent.put_heavy("d", (), 11, later, now), "too heavy by itself");
        assert_eq!((recent.len(), recent.weight), (0, 0));
    }
}
