//! Request bodies: read whole, up to a limit, within a time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

use crate::patience::within;

/// A body must be complete after this time; who sends slower holds a connection for nothing.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// It has more bytes than the limit.
    TooLarge,
    /// It was not complete in time.
    TooSlow,
    /// The connection failed before its end.
    Broken,
}

/// What is read of a body nobody wants, so that its sender gets to read the answer: closing a
/// connection with unread bytes would reset it.
const DISCARD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long a body nobody wants may take. The answer waits for it.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(1);

/// Reads a body of at most `bytes_max` bytes, as a part of serving its connection. One that arrives in one piece is
/// not copied.
pub(crate) async fn read(mut body: Incoming, bytes_max: usize) -> Result<Bytes, BodyError> {
    let read = match body.size_hint().lower() > bytes_max as u64 {
        true => Err(BodyError::TooLarge),
        false => {
            within(BODY_TIME_MAX, collect(&mut body, bytes_max)).await.unwrap_or(Err(BodyError::TooSlow))
        }
    };
    if read == Err(BodyError::TooLarge) {
        discard(body).await;
    }
    read
}

/// Reads and forgets a body, within limits.
pub(crate) async fn discard(mut body: Incoming) {
    if body.size_hint().lower() > DISCARD_BYTES_MAX as u64 {
        return;
    }
    let discarding = async {
        let mut discarded = 0;
        while discarded <= DISCARD_BYTES_MAX
            && let Some(Ok(frame)) = body.frame().await
        {
            discarded += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    // Whoever takes longer may be cut off.
    let _ = timeout(DISCARD_TIME_MAX, discarding).await;
}

async fn collect(body: &mut Incoming, bytes_max: usize) -> Result<Bytes, BodyError> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() else { continue };
        if first.len() + rest.len() + data.len() > bytes_max {
            return Err(BodyError::TooLarge);
        }
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&data);
        }
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}
