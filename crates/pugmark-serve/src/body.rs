//! A request's body, read within limits of size and time.

use std::sync::Arc;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::app::App;
use crate::error::RequestError;

/// A body, and its share of the memory that all bodies may take.
pub(crate) struct Held {
    pub(crate) bytes: Bytes,
    _memory: Option<OwnedSemaphorePermit>,
}

impl Held {
    /// The same bytes for whoever needs them after the answer. They have memory of their own, so that no request is refused for
    /// them; none where it is full.
    pub(crate) fn copy(&self, app: &App) -> Option<Arc<Self>> {
        let kib = self.bytes.len().div_ceil(1024) as u32;
        let memory = Arc::clone(&app.copies).try_acquire_many_owned(kib).ok()?;
        Some(Arc::new(Self { bytes: self.bytes.clone(), _memory: Some(memory) }))
    }
}

/// Reads a body. Memory is taken as the bytes come: whoever sends slowly holds little.
pub(crate) async fn read(app: &App, headers: &HeaderMap, mut body: Body) -> Result<Held, RequestError> {
    let limits = &app.settings.limits;
    let too_large =
        || RequestError::TooLarge(format!("the body has more than {} bytes, the limit", limits.body));
    let announced =
        headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limits.body) {
        return Err(too_large());
    }
    let mut bytes = BytesMut::new();
    let mut memory: Option<OwnedSemaphorePermit> = None;
    let mut kib = 0;
    while let Some(chunk) = next(&mut body, app).await? {
        if bytes.len() + chunk.len() > limits.body {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
        let more = bytes.len().div_ceil(1024) - kib;
        kib += more;
        let Ok(permit) = Arc::clone(&app.bodies).try_acquire_many_owned(more as u32) else {
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

#[cfg(test)]
mod tests {
    use pugmark_engine::Cpu;

    use super::*;
    use crate::settings::{RequestLimits, Settings};

    /// What is kept for a shadow or a capture takes nothing from what requests may have.
    #[test]
    fn copies_have_memory_of_their_own() {
        let limits = RequestLimits { body: 64 << 10, bodies: 64 << 10, ..RequestLimits::default() };
        let app = App::new(Settings { limits, ..Settings::default() }, &[], Cpu::new(1).unwrap()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let read = |kib: usize| {
            runtime.block_on(super::read(&app, &HeaderMap::new(), Body::from(vec![0; kib << 10])))
        };
        let held = read(40).unwrap();
        let copy = held.copy(&app).unwrap();
        assert!(matches!(read(40), Err(RequestError::Busy(_))), "that is more than all bodies may have");
        drop(held);
        assert_eq!(copy.bytes.len(), 40 << 10);
        let next = read(64).unwrap();
        assert!(next.copy(&app).is_none(), "there is room for one copy of that size");
        drop(copy);
        assert!(next.copy(&app).is_some());
    }
}
