//! How many connections or sessions there are, in all and per address.

use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Counts connections, or sessions, against their limits.
pub(crate) struct Places {
    places_max: usize,
    per_address_max: usize,
    open: Mutex<Open>,
    /// The last place has become free.
    emptied: Notify,
}

#[derive(Default)]
struct Open {
    count: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A place that is taken. It is free again when this is dropped.
pub(crate) struct Permit {
    places: Arc<Places>,
    address: Option<IpAddr>,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    #[error("socket.connections_max is reached")]
    Gateway,
    #[error("socket.connections_per_address_max is reached")]
    Address,
}

/// How many files, connections among them, this process may have open, where the system tells.
pub(crate) fn open_files_max() -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    // `unlimited` is no number, and no reason to warn.
    line.split_whitespace().next()?.parse().ok()
}

impl Places {
    pub(crate) fn new(places_max: usize, per_address_max: usize) -> Arc<Self> {
        Arc::new(Self { places_max, per_address_max, open: Mutex::default(), emptied: Notify::new() })
    }

    /// Resolves when every place is free.
    pub(crate) async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            // Listening before looking, so that the last one is not missed.
            emptied.as_mut().enable();
            if self.open.lock().count == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// A place for somebody of this address. `None` stands for many, as a proxy does: then only the total
    /// counts.
    pub(crate) fn admit(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Permit, Full> {
        let mut open = self.open.lock();
        if open.count >= self.places_max {
            return Err(Full::Gateway);
        }
        if let Some(address) = address {
            let of_address = open.by_address.entry(address).or_default();
            if *of_address >= self.per_address_max {
                return Err(Full::Address);
            }
            *of_address += 1;
        }
        open.count += 1;
        Ok(Permit { places: Arc::clone(self), address })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = self.places.open.lock();
        open.count -= 1;
        if open.count == 0 {
            self.places.emptied.notify_waiters();
        }
        if let Some(address) = self.address
            && let Some(count) = open.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                open.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_and_given_back() {
        let places = Places::new(3, 2);
        let (one, other) = (Some(IpAddr::from([127, 0, 0, 1])), Some(IpAddr::from([127, 0, 0, 2])));
        let first = places.admit(one).ok().unwrap();
        let _second = places.admit(one).ok().unwrap();
        assert_eq!(places.admit(one).err(), Some(Full::Address));
        let _third = places.admit(other).ok().unwrap();
        assert_eq!(places.admit(other).err(), Some(Full::Gateway));
        drop(first);
        assert!(places.admit(one).is_ok());
    }

    #[test]
    fn who_stands_for_many_counts_in_the_total_alone() {
        let places = Places::new(3, 1);
        let _taken: Vec<_> = (0..3).map(|_| places.admit(None).ok().unwrap()).collect();
        assert_eq!(places.admit(None).err(), Some(Full::Gateway));
    }
}
