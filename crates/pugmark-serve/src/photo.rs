//! A photo of a request becomes what the models see.

use std::sync::Arc;

use bytes::Bytes;
use pugmark_data::{Photo, decode};

use crate::app::App;
use crate::drift::brightness;
use crate::error::RequestError;
use crate::worker::{Pictures, Worker};

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

/// Decodes and resizes a photo on a thread of its own kind, of which there are few.
pub(crate) async fn prepare(
    app: &App,
    worker: &Arc<Worker>,
    source: Source,
) -> Result<Prepared, RequestError> {
    let ended = || RequestError::Unavailable("the server is stopping");
    let permit = Arc::clone(&app.decoders).acquire_owned().await.map_err(|_| ended())?;
    let (worker, limits) = (Arc::clone(worker), app.settings.limits.photo);
    let work = move || {
        let _permit = permit;
        let photo = match source {
            Source::File(bytes) => decode(&bytes, &limits)?,
            Source::Pixels(photo) => photo,
        };
        let pictures: Pictures = worker.recipes().iter().map(|recipe| recipe.apply(&photo)).collect();
        let brightness = brightness(&pictures[0]);
        Ok(Prepared { pictures, truncated: photo.truncated, brightness })
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| RequestError::Internal("a photo can't be resized".into()))?
}
