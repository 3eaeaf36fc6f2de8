//! How many connections there are, in all and per address.

use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::backend::{Code, Problem};

/// Counts connections against their limits.
pub(crate) struct Connections {
    connections_max: usize,
    per_address_max: usize,
    open: Mutex<Open>,
    /// The last connection is gone.
    emptied: Notify,
}

#[derive(Default)]
struct Open {
    count: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A connection's place. It is free again when this is dropped.
pub(crate) struct Permit {
    connections: Arc<Connections>,
    address: IpAddr,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    #[error("socket.connections_max is reached")]
    Gateway,
    #[error("socket.connections_per_address_max is reached")]
    Address,
}

impl Connections {
    pub(crate) fn new(connections_max: usize, per_address_max: usize) -> Arc<Self> {
        Arc::new(Self { connections_max, per_address_max, open: Mutex::default(), emptied: Notify::new() })
    }

    /// Resolves when there is no connection.
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

    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Permit, Full> {
        let mut open = self.open.lock();
        if open.count >= self.connections_max {
            return Err(Full::Gateway);
        }
        let of_address = open.by_address.entry(address).or_default();
        if *of_address >= self.per_address_max {
            return Err(Full::Address);
        }
        *of_address += 1;
        open.count += 1;
        Ok(Permit { connections: Arc::clone(self), address })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock();
        open.count -= 1;
        if open.count == 0 {
            self.connections.emptied.notify_waiters();
        }
        if let Some(count) = open.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.by_address.remove(&self.address);
            }
        }
    }
}

impl Full {
    /// Says why, as far as the kernel takes it at once: a refusal must cost nothing.
    pub(super) fn tell(self, stream: &TcpStream) {
        let code = match self {
            Self::Gateway => Code::TooManyConnections,
            Self::Address => Code::TooManyConnectionsPerAddress,
        };
        let problem = Problem::new(code, self.to_string());
        let (status, body) = (problem.status(), problem.to_json());
        let response = format!(
            "HTTP/1.1 {status} \r\ncontent-type: application/problem+json\r\nretry-after: 1\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        let _ = stream.try_write(response.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_and_given_back() {
        let connections = Connections::new(3, 2);
        let (one, other) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let first = connections.admit(one).ok().unwrap();
        let _second = connections.admit(one).ok().unwrap();
        assert_eq!(connections.admit(one).err(), Some(Full::Address));
        let _third = connections.admit(other).ok().unwrap();
        assert_eq!(connections.admit(other).err(), Some(Full::Gateway));
        drop(first);
        assert!(connections.admit(one).is_ok());
    }
}
