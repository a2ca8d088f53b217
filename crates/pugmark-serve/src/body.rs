//! A request's body, read within limits of size and time.

use std::sync::Arc;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, EXPECT};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};

use crate::app::App;
use crate::error::RequestError;

/// Of a body that is refused, this many times the limit is read and thrown away, so that its sender gets to reading why.
const THROWN_AWAY: usize = 4;

/// A body, and its share of the memory that all bodies may take.
pub(crate) struct Held {
    pub(crate) bytes: Bytes,
    _memory: Option<OwnedSemaphorePermit>,
}

/// Reads a body. Memory is taken as the bytes come: whoever sends slowly holds little.
pub(crate) async fn read(app: &App, headers: &HeaderMap, mut body: Body) -> Result<Held, RequestError> {
    let limits = &app.settings.limits;
    let too_large =
        || RequestError::TooLarge(format!("the body has more than {} bytes, the limit", limits.body));
    let announced =
        headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limits.body) {
        // Who waits to be asked for the body is not.
        if !headers.contains_key(EXPECT) {
            throw_away(&mut body, app).await;
        }
        return Err(too_large());
    }
    let mut bytes = BytesMut::new();
    let mut memory: Option<OwnedSemaphorePermit> = None;
    let mut kib = 0;
    while let Some(chunk) = next(&mut body, app).await? {
        if bytes.len() + chunk.len() > limits.body {
            throw_away(&mut body, app).await;
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
        let more = bytes.len().div_ceil(1024) - kib;
        kib += more;
        let Ok(permit) = Arc::clone(&app.bodies).try_acquire_many_owned(more as u32) else {
            // Its share is for others at once.
            drop((memory.take(), bytes));
            throw_away(&mut body, app).await;
            return Err(RequestError::Busy("too many bodies are being read"));
        };
        match &mut memory {
            Some(memory) => memory.merge(permit),
            None => memory = Some(permit),
        }
    }
    Ok(Held { bytes: bytes.freeze(), _memory: memory })
}

/// The next bytes of a body; none at its end.
async fn next(body: &mut Body, app: &App) -> Result<Option<Bytes>, RequestError> {
    let idle = app.settings.limits.idle;
    loop {
        let frame = timeout(idle, body.frame()).await.map_err(|_| RequestError::TooSlow(idle))?;
        match frame {
            None => return Ok(None),
            Some(Err(_)) => return Err(RequestError::Bad("the body ends early".into())),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// Reads what is not wanted, within limits.
pub(crate) async fn throw_away(body: &mut Body, app: &App) {
    let mut left = app.settings.limits.body.saturating_mul(THROWN_AWAY);
    let until = Instant::now() + app.settings.limits.idle;
    while let Ok(Some(chunk)) = next(body, app).await {
        left = left.saturating_sub(chunk.len());
        if left == 0 || Instant::now() > until {
            return;
        }
    }
}
