//! A photo of a request becomes what the models see.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use bytes::Bytes;
use pugmark_data::{Limits, Photo, PhotoError, decode};
use tokio::sync::oneshot;

use crate::app::App;
use crate::drift::brightness;
use crate::error::RequestError;
use crate::worker::{Pictures, Worker};

/// A photo of at most so many pixels in so many bytes is small: it is decoded in some milliseconds.
const SMALL_PIXELS: u64 = 1 << 20;
const SMALL_BYTES: usize = 1 << 20;

/// A photo as it was sent.
#[derive(Debug)]
pub(crate) enum Source {
    /// The bytes of a file.
    File(Bytes),
    /// Pixels.
    Pixels(Photo),
}

/// A photo as the models see it.
pub(crate) struct Prepared {
    pub(crate) pictures: Pictures,
    /// The file ends early; what is there was used.
    pub(crate) truncated: bool,
    /// Of the first picture.
    pub(crate) brightness: f32,
}

/// Decodes and resizes a photo: a small one on a thread that computes, in the moments when it waits for others; a large one, which
/// would hold up a batch, on a thread of its own kind, of which there are few.
pub(crate) async fn prepare(
    app: &App,
    worker: &Arc<Worker>,
    source: Source,
) -> Result<Prepared, RequestError> {
    let failed = || RequestError::Internal("a photo can't be resized".into());
    let ended = || RequestError::Unavailable("the server is stopping");
    let limits = app.settings.limits.photo;
    if let Source::File(bytes) = &source
        && bytes.len() <= SMALL_BYTES
        && app.engine.threads() > 1
    {
        let permit = Arc::clone(&app.small).acquire_owned().await.map_err(|_| ended())?;
        let (reply, answer) = oneshot::channel();
        let (worker, bytes) = (Arc::clone(worker), bytes.clone());
        let small = Limits { max_pixels: limits.max_pixels.min(SMALL_PIXELS), ..limits };
        app.engine.spawn(move || {
            let _permit = permit;
            // Whoever asked may be gone.
            if reply.is_closed() {
                return;
            }
            let prepare = AssertUnwindSafe(|| worker.prepare(Source::File(bytes), &small));
            if let Ok(prepared) = panic::catch_unwind(prepare) {
                let _ = reply.send(prepared);
            }
        });
        // What is too large for these limits may be within the real ones, and only they tell what is wrong.
        if let Ok(prepared) = answer.await.map_err(|_| failed())? {
            return Ok(prepared);
        }
    }
    let permit = Arc::clone(&app.decoders).acquire_owned().await.map_err(|_| ended())?;
    let worker = Arc::clone(worker);
    let work = move || {
        let _permit = permit;
        worker.prepare(source, &limits)
    };
    Ok(tokio::task::spawn_blocking(work).await.map_err(|_| failed())??)
}

impl Worker {
    fn prepare(&self, source: Source, limits: &Limits) -> Result<Prepared, PhotoError> {
        let photo = match source {
            Source::File(bytes) => decode(&bytes, limits)?,
            Source::Pixels(photo) => photo,
        };
        let pictures: Pictures = self.recipes().iter().map(|recipe| recipe.apply(&photo)).collect();
        let brightness = brightness(&pictures[0]);
        Ok(Prepared { pictures, truncated: photo.truncated, brightness })
    }
}
