//! A request's body becomes photos. What a body is, its first bytes say; a content type only tells apart what looks alike.

mod json;
mod multipart;
mod npy;
#[cfg(test)]
mod properties;
mod tensor;

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use bytes::Bytes;
use pugmark_data::Limits;

use crate::error::RequestError;
use crate::photo::Source;

pub(crate) use tensor::Inference;

/// Most photos that a request is read for. What the server takes at one time is less.
const MOST: usize = 10_000;

/// What a request asks about.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) photos: Vec<Named>,
    /// Asked as a list: answered as one, and each photo fails alone.
    pub(crate) list: bool,
    /// A line each.
    pub(crate) lines: bool,
    /// Most likely classes to name, where the body says so.
    pub(crate) top: Option<usize>,
}

/// A photo and what the request calls it; or why it is none.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) id: Option<String>,
    pub(crate) source: Result<Source, RequestError>,
}

impl Asked {
    fn one(source: Source) -> Self {
        let photos = vec![Named { id: None, source: Ok(source) }];
        Self { photos, list: false, lines: false, top: None }
    }

    fn list(photos: Vec<Named>) -> Self {
        Self { photos, list: true, lines: false, top: None }
    }
}

/// Reads a body.
pub(crate) async fn read(headers: &HeaderMap, bytes: Bytes, limits: &Limits) -> Result<Asked, RequestError> {
    let said = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if bytes.is_empty() {
        return Err(RequestError::Bad("the body is empty".into()));
    }
    if is_photo(&bytes) {
        return Ok(Asked::one(Source::File(bytes)));
    }
    if bytes.starts_with(npy::MAGIC) {
        return npy::read(&bytes, limits);
    }
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    let asked = match kind.as_str() {
        "multipart/form-data" => multipart::read(said, bytes).await?,
        "application/jsonlines"
        | "application/x-jsonlines"
        | "application/jsonl"
        | "application/x-ndjson" => json::read_lines(&bytes)?,
        "application/json" => json::read(&bytes)?,
        "application/x-npy" => return Err(RequestError::Bad("the body is no .npy file".into())),
        _ if matches!(first, Some(b'{' | b'[' | b'"')) => json::read(&bytes)?,
        // As the photo alone would be refused.
        kind if kind.is_empty() || kind.starts_with("image/") || kind == "application/x-image" => {
            Asked::one(Source::File(bytes))
        }
        "application/octet-stream" => Asked::one(Source::File(bytes)),
        kind => {
            return Err(RequestError::Unsupported(format!("the body is no photo, and `{kind}` is not read")));
        }
    };
    if asked.photos.is_empty() {
        return Err(RequestError::Bad("the request has no photos".into()));
    }
    Ok(asked)
}

/// Whether bytes begin as a photo does.
fn is_photo(bytes: &[u8]) -> bool {
    use image::ImageFormat::{Bmp, Gif, Jpeg, Png, Pnm, Tiff, WebP};
    matches!(image::guess_format(bytes), Ok(Jpeg | Png | WebP | Bmp | Tiff | Pnm | Gif))
}
