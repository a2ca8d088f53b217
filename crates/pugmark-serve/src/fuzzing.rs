//! What reads requests and writes answers, for the fuzz targets.

use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use bytes::Bytes;
use futures_util::FutureExt;
use pugmark_data::{Limits, Photo};

use crate::answer::{Answer, Form, Said, Style};
use crate::error::RequestError;
use crate::input::{self, Inference, Named};
use crate::photo::Source;
use crate::settings::Shape;

/// A photo of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Sent {
    /// A file, to be decoded.
    File(Vec<u8>),
    /// Pixels.
    Pixels(Photo),
}

/// Why there is no answer: the status, what is said, and what to do.
pub type Refused = (u16, String, &'static str);

/// What a request calls a photo, and the photo.
pub type Asked = (Option<String>, Result<Sent, Refused>);

fn refused(error: &RequestError) -> Refused {
    (error.status().as_u16(), error.message(), error.hint())
}

fn photos(named: Vec<Named>) -> Vec<Asked> {
    let sent = |source| match source {
        Source::File(bytes) => Sent::File(bytes.to_vec()),
        Source::Pixels(photo) => Sent::Pixels(photo),
    };
    named.into_iter().map(|Named { id, source }| (id, source.map(sent).map_err(|e| refused(&e)))).collect()
}

/// The photos of a body of this type, as `/invocations` reads it.
///
/// # Errors
/// Where it has none.
pub fn body(content_type: &[u8], body: &[u8], limits: &Limits) -> Result<Vec<Asked>, Refused> {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(content_type) {
        headers.insert(CONTENT_TYPE, value);
    }
    let read = input::read(&headers, Bytes::copy_from_slice(body), limits).now_or_never();
    let asked = read.expect("all of the body is there");
    asked.map(|asked| photos(asked.photos)).map_err(|error| refused(&error))
}

/// The photos of a request of the Open Inference Protocol.
///
/// # Errors
/// Where it has none.
pub fn inference(body: &[u8], limits: &Limits) -> Result<Vec<Asked>, Refused> {
    let read = Inference::read(body).and_then(|mut asked| asked.photos(limits));
    read.map(photos).map_err(|error| refused(&error))
}

/// The answer about the photos of a request with this `Accept` header, all of them of two classes; `flat` in the form of
/// older endpoints. With its content type.
///
/// # Errors
/// Where none of the forms that are written is asked for.
pub fn answer(accept: &[u8], photos: &[Asked], flat: bool) -> Result<(&'static str, String), Refused> {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(accept) {
        headers.insert(ACCEPT, value);
    }
    let form = Form::asked(&headers).map_err(|error| refused(&error))?.unwrap_or(Form::Json);
    let classes = ["a".to_owned(), "b, or \"c\"".to_owned()];
    let said = || Said { probabilities: vec![0.25, 0.75], truncated: false, brightness: 0.5 };
    let answers: Vec<Answer> = photos
        .iter()
        .map(|(id, sent)| {
            let outcome = match sent {
                Ok(_) => Ok(said()),
                Err((_, message, _)) => Err(RequestError::Bad(message.clone())),
            };
            Answer { id: id.clone(), outcome }
        })
        .collect();
    let shape = if flat { Shape::Flat } else { Shape::Full };
    let style = Style { form, shape, classes: &classes, top: 5, list: true };
    style.write(&answers).map(|text| (form.content_type(), text)).map_err(|error| refused(&error))
}
