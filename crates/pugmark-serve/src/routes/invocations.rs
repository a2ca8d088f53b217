//! Photos in, probabilities out: SageMaker's inference contract.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Query, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use futures_util::future::join_all;
use serde::Deserialize;

use super::{INVOKED_VARIANT, TARGET_VARIANT};
use crate::answer::{Answer, Form, Said, Style, most_likely};
use crate::app::{App, Variant};
use crate::body;
use crate::capture::Record;
use crate::error::RequestError;
use crate::input::{self, Asked, Named};
use crate::photo::{self, Source};

/// Where the time of a request went (W3C Server Timing).
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// What the client calls the request, for data capture.
const INFERENCE_ID: HeaderName = HeaderName::from_static("x-amzn-sagemaker-inference-id");

#[derive(Deserialize)]
struct Options {
    top: Option<usize>,
}

/// The longest a photo of a request took for each part of the way.
#[derive(Default, Clone, Copy)]
pub(crate) struct Times {
    decode: Duration,
    queue: Duration,
    model: Duration,
}

pub(super) async fn answer(State(app): State<Arc<App>>, request: Request) -> Result<Response, RequestError> {
    let (parts, body) = request.into_parts();
    let form = Form::asked(&parts.headers)?;
    let Query(options) = Query::<Options>::try_from_uri(&parts.uri)
        .map_err(|_| RequestError::Bad("`top` is a number".into()))?;
    let variant = app.variant(target(&parts.headers))?;
    let held = body::read(&app, &parts.headers, body).await?;
    let asked = input::read(&parts.headers, held.bytes.clone(), &app.settings.limits.photo).await?;
    let Asked { photos, list, lines, top } = asked;
    let (answers, times) = look(&app, &variant, photos).await?;
    if let ([Answer { outcome: Err(error), .. }], false) = (answers.as_slice(), list) {
        return Err(error.clone());
    }
    let style = Style {
        form: form.unwrap_or(if lines { Form::JsonLines } else { Form::Json }),
        shape: app.settings.shape,
        classes: variant.worker.classes(),
        top: options.top.or(top).unwrap_or(app.settings.top),
        list,
    };
    let text = style.write(&answers)?;
    let output_type = style.form.content_type();
    if let Some(capture) = &app.capture {
        let said = |name: HeaderName| Some(parts.headers.get(name)?.to_str().ok()?.to_owned());
        let input_type = said(CONTENT_TYPE).unwrap_or_default();
        let inference_id = said(INFERENCE_ID);
        let (variant, output) = (Arc::clone(&variant.name), text.clone());
        let record = Record { variant, input_type, input: held, output_type, output, inference_id };
        // What waits for the disk may take half of the memory of all bodies: the rest is for requests.
        match app.bodies.available_permits() * 2 >= app.settings.limits.bodies.div_ceil(1024) {
            true => capture.take(record, &app.metrics),
            false => app.metrics.capture(false),
        }
    }
    let mut response = ([(CONTENT_TYPE, output_type)], text).into_response();
    if let Ok(name) = HeaderValue::from_str(&variant.name) {
        response.headers_mut().insert(INVOKED_VARIANT, name);
    }
    if let Ok(value) = HeaderValue::from_str(&times.text()) {
        response.headers_mut().insert(SERVER_TIMING, value);
    }
    Ok(response)
}

/// The variant that a request asks for.
pub(super) fn target(headers: &HeaderMap) -> Option<&str> {
    headers.get(TARGET_VARIANT)?.to_str().ok()
}

/// Shows photos to a model, all at once; each has its own answer.
///
/// # Errors
/// Where there is no room for all of them, or the server fails.
pub(super) async fn look(
    app: &App,
    variant: &Variant,
    photos: Vec<Named>,
) -> Result<(Vec<Answer>, Times), RequestError> {
    let _room = app.room(photos.len())?;
    let each = photos.into_iter().map(async |Named { id, source }| {
        let looked = match source {
            Ok(source) => look_at(app, variant, source).await,
            Err(error) => Err(error),
        };
        let (outcome, times) =
            looked.map_or_else(|error| (Err(error), Times::default()), |(s, t)| (Ok(s), t));
        (Answer { id, outcome }, times)
    });
    let (answers, times): (Vec<_>, Vec<_>) = join_all(each).await.into_iter().unzip();
    for answer in &answers {
        match &answer.outcome {
            Ok(Said { probabilities, .. }) => {
                let best = most_likely(probabilities)[0];
                app.metrics.answered(&variant.name, &variant.worker.classes()[best], probabilities[best]);
            }
            // Not the photo's fault: the request may be sent again as a whole.
            Err(error) if error.status().is_server_error() || matches!(error, RequestError::Busy(_)) => {
                return Err(error.clone());
            }
            Err(_) => app.metrics.broken(),
        }
    }
    Ok((answers, times.into_iter().fold(Times::default(), Times::longest)))
}

async fn look_at(app: &App, variant: &Variant, source: Source) -> Result<(Said, Times), RequestError> {
    let begun = Instant::now();
    let prepared = photo::prepare(app, &variant.worker, source).await?;
    let decode = begun.elapsed();
    let looked = variant.worker.look(prepared.pictures).await?;
    let times = Times { decode, queue: looked.queued, model: looked.model };
    Ok((Said { probabilities: looked.probabilities, truncated: prepared.truncated }, times))
}

impl Times {
    fn longest(self, other: Self) -> Self {
        Self {
            decode: self.decode.max(other.decode),
            queue: self.queue.max(other.queue),
            model: self.model.max(other.model),
        }
    }

    fn text(self) -> String {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        format!(
            "decode;dur={:.2}, queue;dur={:.2}, model;dur={:.2}",
            ms(self.decode),
            ms(self.queue),
            ms(self.model)
        )
    }
}
