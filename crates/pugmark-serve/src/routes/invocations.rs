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
use crate::log::{self, INFERENCE_ID, Milliseconds, Notes};
use crate::photo::{self, Source};
use crate::shadow::Shadow;
use crate::trace::Stage;
use crate::worker::Looked;

/// Where the time of a request went (W3C Server Timing).
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

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
    /// Photos in the largest batch.
    batch: usize,
    stages: Option<[Stage; 3]>,
}

pub(super) async fn answer(State(app): State<Arc<App>>, request: Request) -> Result<Response, RequestError> {
    let variant = app.variant(target(request.headers()))?;
    respond(&app, variant, request, app.shadow.as_ref().filter(|shadow| shadow.turn())).await
}

/// What a variant says of a request's photos.
pub(super) async fn respond(
    app: &Arc<App>,
    variant: Variant,
    request: Request,
    shadow: Option<&Shadow>,
) -> Result<Response, RequestError> {
    let notes = Notes::of(&request);
    let (parts, body) = request.into_parts();
    let form = Form::asked(&parts.headers)?;
    let Query(options) = Query::<Options>::try_from_uri(&parts.uri)
        .map_err(|_| RequestError::Bad("`top` is a number".into()))?;
    let held = body::read(app, &parts.headers, body).await?;
    notes.write(|noted| noted.bytes_in = Some(held.bytes.len()));
    let asked = input::read(&parts.headers, held.bytes.clone(), &app.settings.limits.photo).await?;
    let Asked { photos, list, lines, top } = asked;
    let (answers, times) = look(app, &variant, photos).await?;
    notes.write(|noted| noted.looked = Some(times.noted(&variant, answers.len())));
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
    let copy = if shadow.is_some() || app.capture.is_some() { held.copy(app) } else { None };
    if let Some(shadow) = shadow {
        shadow.take(app, &parts.headers, copy.clone(), &answers, variant.worker.classes());
    }
    if let Some(capture) = &app.capture {
        let said = |name: HeaderName| Some(parts.headers.get(name)?.to_str().ok()?.to_owned());
        let input_type = said(CONTENT_TYPE).unwrap_or_default();
        let inference_id = said(INFERENCE_ID);
        let (variant, output) = (Arc::clone(&variant.name), text.clone());
        match copy {
            Some(input) => {
                let record = Record { variant, input_type, input, output_type, output, inference_id };
                capture.take(record, &app.metrics);
            }
            None => app.metrics.capture(false),
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
            Ok(Said { probabilities, brightness, .. }) => {
                let best = most_likely(probabilities)[0];
                let (class, probability) = (&variant.worker.classes()[best], probabilities[best]);
                app.metrics.answered(&variant.name, class, probability, *brightness);
                variant.worker.drift().add(best, probability, *brightness);
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
    let (decoded, brightness) = (Instant::now(), prepared.brightness);
    let looked = variant.worker.look(prepared.pictures).await?;
    let Looked { queued, begun: seen, model, batch, probabilities } = looked;
    let stages = Some([Stage(begun, decoded), Stage(seen - queued, seen), Stage(seen, seen + model)]);
    let times = Times { decode: decoded - begun, queue: queued, model, batch, stages };
    Ok((Said { probabilities, truncated: prepared.truncated, brightness }, times))
}

impl Times {
    fn longest(self, other: Self) -> Self {
        Self {
            decode: self.decode.max(other.decode),
            queue: self.queue.max(other.queue),
            model: self.model.max(other.model),
            batch: self.batch.max(other.batch),
            stages: match (self.stages, other.stages) {
                (Some([a, b, c]), Some([x, y, z])) => Some([a.with(x), b.with(y), c.with(z)]),
                (one, other) => one.or(other),
            },
        }
    }

    /// What the log tells of it.
    pub(crate) fn noted(self, variant: &Variant, photos: usize) -> log::Looked {
        log::Looked {
            variant: variant.name.to_string(),
            photos,
            batch: self.batch,
            decode_ms: Milliseconds(self.decode),
            queue_ms: Milliseconds(self.queue),
            model_ms: Milliseconds(self.model),
            stages: self.stages,
        }
    }

    fn text(self) -> String {
        let [decode, queue, model] = [self.decode, self.queue, self.model].map(Milliseconds);
        format!("decode;dur={decode}, queue;dur={queue}, model;dur={model}")
    }
}
