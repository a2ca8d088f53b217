//! Photos of a form.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use multer::{Multipart, parse_boundary};

use super::{Asked, MOST, Named};
use crate::error::RequestError;
use crate::photo::Source;

/// Reads every field of a form as a photo, called as its file, or as the field where there is no file's name.
pub(super) async fn read(content_type: &str, bytes: Bytes) -> Result<Asked, RequestError> {
    let wrong = |error: multer::Error| RequestError::Bad(format!("the form cannot be read: {error}"));
    let boundary = parse_boundary(content_type).map_err(wrong)?;
    let mut form = Multipart::new(stream::iter([Ok::<_, Infallible>(bytes)]), boundary);
    let mut photos = Vec::new();
    while let Some(field) = form.next_field().await.map_err(wrong)? {
        if photos.len() == MOST {
            return Err(RequestError::TooLarge(format!("the request has more than {MOST} photos")));
        }
        let id = field.file_name().or_else(|| field.name()).map(str::to_owned);
        photos.push(Named { id, source: Ok(Source::File(field.bytes().await.map_err(wrong)?)) });
    }
    Ok(Asked::list(photos))
}
