//! Time limits of requests that cost nothing as long as they are kept.
//!
//! A timer for the head of each request and another one for its body would be set and taken back with every event
//! that is published. [`Patience`] sets none: it looks at the clock when it is polled, and [`crate::listen`] polls
//! every connection once in [`LOOK_INTERVAL`]. So a limit is noticed up to that much later.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

/// How often a connection is polled on which nothing happens.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// How long a stopping gateway still waits for what was sent before it said so, to answer it with the reason.
pub(crate) const ARRIVAL_TIME_MAX: Duration = Duration::from_millis(500);

/// Resolves when its time is over and somebody looks.
struct Patience(Instant);

impl Future for Patience {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if Instant::now() < self.0 { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl Sleep for Patience {}

/// Patience for heads.
pub(crate) struct Patient;

impl Timer for Patient {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Patience(deadline))
    }
}

/// Waits for a part of a request; `None` if it takes longer than `time`.
pub(crate) async fn within<T>(time: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    // The clock is read only when there is something to wait for.
    let mut end = None;
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => {
            let end = end.get_or_insert_with(|| Patience(Instant::now() + time));
            Pin::new(end).poll(cx).map(|()| None)
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Polls once, as a connection's clock does.
    async fn look<T>(waiting: Pin<&mut impl Future<Output = Option<T>>>) -> Poll<Option<T>> {
        let mut waiting = waiting;
        poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx))).await
    }

    #[tokio::test]
    async fn it_ends_with_the_look_after_its_time() {
        let mut waiting = pin!(within(Duration::from_millis(20), std::future::pending::<()>()));
        let begin = Instant::now();
        let mut looks = 0;
        while look(waiting.as_mut()).await.is_pending() {
            looks += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(begin.elapsed() >= Duration::from_millis(20));
        assert!(looks > 0);
    }

    #[tokio::test]
    async fn what_is_there_is_taken_even_late() {
        let (send, receive) = tokio::sync::oneshot::channel();
        let mut waiting = pin!(within(Duration::ZERO, receive));
        send.send(7).unwrap();
        assert_eq!(look(waiting.as_mut()).await, Poll::Ready(Some(Ok(7))));
    }
}
