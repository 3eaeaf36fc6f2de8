//! A time limit for writing that costs nothing as long as bytes get away.
//!
//! No timer is set: the clock is read when a byte cannot be written, and the next time somebody tries. The connection's
//! own clock does that once in [`LOOK_INTERVAL`](crate::patience::LOOK_INTERVAL), so the limit is noticed up to that
//! much later. Who has nothing to write does not try, and is not hit.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A stream whose peer has to take a byte now and then, if there is one for it.
pub(super) struct Pushing {
    stream: TcpStream,
    time_max: Duration,
    /// Since when no byte could be written.
    stuck: Option<Instant>,
}

/// The peer did not take a byte for too long.
#[derive(Debug, thiserror::Error)]
#[error("the peer does not read its answer")]
pub(super) struct Stuck;

impl Stuck {
    /// Whether a connection ended for this reason.
    pub(super) fn is_cause_of(error: &hyper::Error) -> bool {
        let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
        cause.and_then(io::Error::get_ref).is_some_and(|cause| cause.is::<Self>())
    }
}

impl Pushing {
    pub(super) const fn new(stream: TcpStream, time_max: Duration) -> Self {
        Self { stream, time_max, stuck: None }
    }

    pub(super) fn into_inner(self) -> TcpStream {
        self.stream
    }

    /// Looks at the clock if nothing could be written.
    fn watch(&mut self, written: Poll<io::Result<usize>>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stuck = None;
            return written;
        }
        let Some(since) = self.stuck else {
            self.stuck = Some(Instant::now());
            return Poll::Pending;
        };
        let socket = SockRef::from(&self.stream);
        // The kernel wakes nobody before a good part of its buffer is free: a slow peer may have read a little.
        if let Ok(written @ 1..) = socket.send(bytes) {
            self.stuck = None;
            return Poll::Ready(Ok(written));
        }
        if since.elapsed() < self.time_max {
            return Poll::Pending;
        }
        // Or the kernel would keep what it has, and wait for the peer on its own.
        let _ = socket.set_linger(Some(Duration::ZERO));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, Stuck)))
    }
}

impl AsyncRead for Pushing {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pushing {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(written, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        let first = slices.iter().find(|slice| !slice.is_empty());
        self.watch(written, first.map_or(&[], |slice| &**slice))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio::time::sleep;

    use super::*;

    /// A stream, and a peer of it that has not read anything yet.
    async fn pair(time_max: Duration) -> (Pushing, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Pushing::new(listener.accept().await.unwrap().0, time_max), peer)
    }

    /// Tries to write until `is_enough`, now and then, as a connection does when its clock ticks.
    async fn push(
        stream: &mut Pushing,
        is_enough: impl Fn(&Poll<io::Result<usize>>) -> bool,
    ) -> io::Result<usize> {
        loop {
            let written = poll_fn(|cx| Poll::Ready(Pin::new(&mut *stream).poll_write(cx, &[7; 65536]))).await;
            if is_enough(&written) {
                return match written {
                    Poll::Ready(written) => written,
                    Poll::Pending => Ok(0),
                };
            }
            if written.is_pending() {
                sleep(Duration::from_millis(5)).await;
            }
        }
    }

    #[tokio::test]
    async fn who_does_not_read_is_given_up() {
        let (mut stream, _peer) = pair(Duration::from_millis(100)).await;
        let error = push(&mut stream, |written| matches!(written, Poll::Ready(Err(_)))).await.unwrap_err();
        assert!(error.get_ref().unwrap().is::<Stuck>(), "{error}");
    }

    #[tokio::test]
    async fn who_reads_a_little_is_not() {
        let (mut stream, mut peer) = pair(Duration::from_secs(3600)).await;
        for _ in 0..3 {
            push(&mut stream, Poll::is_pending).await.unwrap();
            peer.read_exact(&mut vec![0; 1 << 20]).await.unwrap();
            assert!(push(&mut stream, Poll::is_ready).await.unwrap() > 0);
        }
    }
}
