//! Ports: one HTTP server for backends and clients alike. A request goes to the side it is for;
//! a connection that becomes a WebSocket leaves HTTP here.
//!
//! Invariants
//! * A connection counts against the limits as long as it lives, whatever it has become.
//! * Connections are dealt out to the threads in turn.

mod http;
mod stuck;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use crate::backend::{Code, Problem};
use crate::places::{Full, Places};

pub(crate) use self::http::Router;

/// Connections that may wait to be accepted; the kernel may allow fewer.
const BACKLOG: i32 = 4096;

/// How often a free port is looked for that is free on IPv4 and IPv6.
const FREE_PORT_TRIES: usize = 16;

/// Pause after the system had no more file descriptors for a connection.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// Refused connections that are read at the same time. Of more the answer may be lost: a refusal must cost little.
const REFUSING_MAX: usize = 64;

/// What is read of a request that is refused with its connection, and for how long. Closing a connection with unread
/// bytes would reset it, and its peer would not get the answer.
const REFUSED_BYTES_MAX: u64 = 256 * 1024;
const REFUSED_TIME_MAX: Duration = Duration::from_millis(100);

/// Between two lines about connections that cannot be accepted.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(60);

/// Binds the port on the host's addresses. A loopback host is bound on IPv4 and IPv6, because
/// `localhost` may mean either.
pub(crate) async fn bind(host: &str, port: u16) -> Result<Vec<std::net::TcpListener>, BindError> {
    let addresses = resolve(host).await?;
    let mut tries = 0;
    loop {
        match bind_all(&addresses, port) {
            // A free port of one family may be taken in the other; the next one will not be.
            Err(BindError::Taken(_)) if port == 0 && tries < FREE_PORT_TRIES => tries += 1,
            bound => return bound,
        }
    }
}

/// Why the host and port cannot be listened on.
#[derive(Debug)]
pub(crate) enum BindError {
    /// Another program listens at this address, which may be one of several of the host.
    Taken(IpAddr),
    Other(io::Error),
}

impl From<io::Error> for BindError {
    fn from(error: io::Error) -> Self {
        Self::Other(error)
    }
}

fn bind_all(addresses: &[IpAddr], port: u16) -> Result<Vec<std::net::TcpListener>, BindError> {
    let listen = |address: IpAddr, port| {
        listen(SocketAddr::new(address, port)).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => BindError::Taken(address),
            _ => BindError::Other(error),
        })
    };
    let mut listeners = vec![listen(addresses[0], port)?];
    let port = listeners[0].local_addr()?.port();
    for address in &addresses[1..] {
        match listen(*address, port) {
            Ok(listener) => listeners.push(listener),
            // Somebody else would answer for us to whoever resolves the name to this address.
            Err(taken @ BindError::Taken(_)) => return Err(taken),
            // A machine without IPv6, say. One address is bound, and that is what is told.
            Err(BindError::Other(error)) => tracing::debug!(%address, port, %error, "address not bound"),
        }
    }
    Ok(listeners)
}

async fn resolve(host: &str) -> io::Result<Vec<IpAddr>> {
    const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if host.eq_ignore_ascii_case("localhost") || bare == "127.0.0.1" {
        return Ok(LOOPBACK.to_vec());
    }
    if let Ok(address) = bare.parse() {
        return Ok(vec![address]);
    }
    let mut addresses: Vec<IpAddr> =
        tokio::net::lookup_host((bare, 0)).await?.map(|address| address.ip()).collect();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("the host `{host}` has no address")));
    }
    Ok(addresses)
}

fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `::` on its own would take the IPv4 port too, or not, depending on the system.
        socket.set_only_v6(address.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED))?;
    }
    // Without it a restart would have to wait until old connections are forgotten.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Accepts connections for ever and deals them out to the threads.
pub(crate) async fn accept(
    listener: std::net::TcpListener,
    router: Arc<Router>,
    places: Arc<Places>,
    threads: Arc<[Handle]>,
    stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let turn = AtomicUsize::new(0);
    let refusing = Arc::new(Semaphore::new(REFUSING_MAX));
    let mut complained: Option<Instant> = None;
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_of_the_peer(&error) => continue,
            Err(error) => {
                // It fails many times a second; once a minute is enough to be told.
                if complained.is_none_or(|at| at.elapsed() > COMPLAINT_PAUSE) {
                    complained = Some(Instant::now());
                    tracing::error!(%error, "no connection can be accepted; is the limit of open files reached?");
                }
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
                continue;
            }
        };
        let address = peer.ip().to_canonical();
        // A proxy's connections are those of all its clients.
        let counted = Some(address).filter(|address| !router.proxies().contain(*address));
        let permit = match places.admit(counted) {
            Ok(permit) => permit,
            Err(full) => {
                tracing::warn!(remote = %address, reason = %full, "connection refused");
                router.backend.reached(match full {
                    Full::Gateway => "connections_max",
                    Full::Address => "connections_per_address_max",
                });
                let response = refusal(full);
                match Arc::clone(&refusing).try_acquire_owned() {
                    Ok(turn) => drop(tokio::spawn(refuse(stream, response, turn))),
                    // As far as the kernel takes it at once.
                    Err(_) => drop(stream.try_write(response.as_bytes())),
                }
                continue;
            }
        };
        // Small frames must not wait for the peer to acknowledge the ones before.
        let _ = stream.set_nodelay(true);
        let shard = turn.fetch_add(1, Ordering::Relaxed) % threads.len();
        let (router, stopping) = (Arc::clone(&router), stopping.clone());
        let serve = move |stream| http::serve(router, stream, address, shard, permit, stopping);
        if threads.len() == 1 {
            tokio::spawn(serve(stream));
        } else if let Ok(stream) = stream.into_std() {
            threads[shard].spawn(async move {
                if let Ok(stream) = TcpStream::from_std(stream) {
                    serve(stream).await;
                }
            });
        }
    }
}

/// The answer to whoever connects when there is no place.
fn refusal(full: Full) -> String {
    let code = match full {
        Full::Gateway => Code::TooManyConnections,
        Full::Address => Code::TooManyConnectionsPerAddress,
    };
    let problem = Problem::new(code, full.to_string());
    let (status, body) = (problem.status(), problem.to_json());
    format!(
        "HTTP/1.1 {status} \r\ncontent-type: application/problem+json\r\nretry-after: 1\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Says why a connection is refused, and reads what its peer sends meanwhile.
async fn refuse(mut stream: TcpStream, response: String, _turn: OwnedSemaphorePermit) {
    let refusing = async {
        stream.write_all(response.as_bytes()).await?;
        stream.shutdown().await?;
        let mut request = stream.take(REFUSED_BYTES_MAX);
        tokio::io::copy(&mut request, &mut tokio::io::sink()).await
    };
    // Whoever takes longer is cut off.
    let _ = timeout(REFUSED_TIME_MAX, refusing).await;
}

/// Errors of a connection that was gone before it was accepted.
fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
