//! One connection: HTTP/1.1 until it ends or becomes a WebSocket.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::sleep;

use super::stuck::{Pushing, Stuck};
use crate::backend::{Backend, ReplyBody};
use crate::patience::{ARRIVAL_TIME_MAX, LOOK_INTERVAL, Patient};
use crate::places::Permit;
use crate::rules::Proxies;
use crate::sockets::{Answer, Sockets, Upgrade};

/// How long the head of a request may take, the time between two requests included.
const HEAD_TIME_MAX: Duration = Duration::from_secs(30);

/// Bytes of a request's head, and what is read ahead of a body.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Headers of a request.
const HEADERS_MAX: usize = 100;

/// How long a peer may take no byte of an answer that is there for it.
const WRITE_TIME_MAX: Duration = Duration::from_secs(30);

/// Knows which side a request is for.
pub(crate) struct Router {
    pub(crate) backend: Arc<Backend>,
    pub(crate) sockets: Arc<Sockets>,
}

impl Router {
    /// The proxies that are believed.
    pub(super) fn proxies(&self) -> &Proxies {
        &self.sockets.settings.proxies
    }

    async fn route(
        &self,
        request: Request<Incoming>,
        peer: IpAddr,
        shard: usize,
        upgrade: &Mutex<Option<Upgrade>>,
    ) -> Response<ReplyBody> {
        let peer = self.proxies().client(peer, request.headers());
        let Some(endpoint) = self.sockets.endpoint(request.uri().path()) else {
            return self.backend.handle(request, peer).await;
        };
        // Boxed, because the most frequent requests, published events, would pay for the size of this.
        let response = match Box::pin(self.sockets.handle(endpoint, request, peer, shard)).await {
            Answer::Reply(response) => response,
            Answer::Upgrade(response, to) => {
                *upgrade.lock() = Some(to);
                response
            }
        };
        response.map(ReplyBody::Left)
    }
}

/// Serves one connection. `permit` is given back when it is over, as HTTP or as WebSocket.
pub(super) async fn serve(
    router: Arc<Router>,
    stream: TcpStream,
    peer: IpAddr,
    shard: usize,
    permit: Permit,
    mut stopping: watch::Receiver<bool>,
) {
    let metrics = Arc::clone(&router.sockets.metrics);
    let upgrade = Arc::new(Mutex::new(None));
    let asked = Arc::clone(&upgrade);
    let announced = stopping.clone();
    let service = service_fn(move |request| {
        let (router, asked) = (Arc::clone(&router), Arc::clone(&asked));
        let stopping = announced.clone();
        Box::pin(async move {
            let mut response = router.route(request, peer, shard, &asked).await;
            if *stopping.borrow() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                // The last answer on this connection.
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        })
    });
    // Who comes while the gateway stops still gets an answer, which says so; others are only let
    // finish what they have begun.
    let mut is_stopping = *stopping.borrow();
    let mut connection = http1::Builder::new()
        .keep_alive(!is_stopping)
        .timer(Patient)
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(Pushing::new(stream, WRITE_TIME_MAX)), service);
    let result = {
        let mut stop = pin!(async move {
            // An error means that the gateway is gone, which is a reason to stop as well.
            let _ = stopping.wait_for(|stopping| *stopping).await;
            // A request that was sent before may still be on its way.
            sleep(ARRIVAL_TIME_MAX).await;
        });
        let mut look = pin!(sleep(LOOK_INTERVAL));
        poll_fn(|cx| {
            while look.as_mut().poll(cx).is_ready() {
                look.as_mut().reset(tokio::time::Instant::now() + LOOK_INTERVAL);
            }
            if !is_stopping && stop.as_mut().poll(cx).is_ready() {
                is_stopping = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            match connection.poll_without_shutdown(cx) {
                Poll::Ready(result) => Poll::Ready(result),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    };
    let upgrade = upgrade.lock().take();
    match (result, upgrade) {
        (Ok(()), Some(upgrade)) => {
            // Only the stream goes on: the buffers of HTTP would be dead weight on an idle socket.
            let parts = connection.into_parts();
            upgrade.start(parts.io.into_inner().into_inner(), parts.read_buf, permit);
        }
        (Ok(()), None) => {
            let mut stream = connection.into_parts().io.into_inner().into_inner();
            let _ = tokio::io::AsyncWriteExt::shutdown(&mut stream).await;
        }
        (Err(error), _) => {
            if error.is_parse_too_large() {
                metrics.limit("head_bytes_max");
            }
            if Stuck::is_cause_of(&error) {
                metrics.limit("write_time_max");
            }
            tracing::debug!(remote = %peer, %error, "HTTP connection ended");
        }
    }
}
