//! A heat map of a photo, as a picture.

use std::io::Cursor;
use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use image::{ImageFormat, RgbImage};
use serde::Deserialize;

use super::INVOKED_VARIANT;
use super::invocations::target;
use crate::answer::most_likely;
use crate::app::App;
use crate::error::RequestError;
use crate::log::Notes;
use crate::{body, input, photo};

#[derive(Deserialize)]
struct Options {
    class: Option<String>,
}

/// The Grad-CAM of a photo for a class, or for the most likely one, over what the model sees, as PNG.
pub(super) async fn answer(State(app): State<Arc<App>>, request: Request) -> Result<Response, RequestError> {
    let notes = Notes::of(&request);
    let (parts, body) = request.into_parts();
    let Query(Options { class }) = Query::try_from_uri(&parts.uri)
        .map_err(|_| RequestError::Bad("`class` is the name of a class".into()))?;
    let variant = app.variant(target(&parts.headers))?;
    let worker = variant.worker;
    let known = |name: &String| worker.classes().iter().position(|known| known == name);
    let class = match class {
        Some(name) => Some(
            known(&name).ok_or_else(|| RequestError::Bad(format!("the model knows no class `{name}`")))?,
        ),
        None => None,
    };
    let held = body::read(&app, &parts.headers, body).await?;
    notes.write(|noted| noted.bytes_in = Some(held.bytes.len()));
    let asked = input::read(&parts.headers, held.bytes.clone(), &app.settings.limits.photo).await?;
    let [named] = <[_; 1]>::try_from(asked.photos).map_err(|photos| {
        RequestError::Bad(format!("one photo is explained at a time, not {}", photos.len()))
    })?;
    let _room = app.room(1)?;
    let prepared = photo::prepare(&app, &worker, named.source?).await?;
    let class = match class {
        Some(class) => class,
        None => most_likely(&worker.look(prepared.pictures.clone()).await?.probabilities)[0],
    };
    let permit = Arc::clone(&app.explaining)
        .acquire_owned()
        .await
        .map_err(|_| RequestError::Unavailable("the server is stopping"))?;
    let png = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let heat = worker.heat(&prepared.pictures, class)?;
        let failed = || RequestError::Internal("the heat map can't be drawn".into());
        let picture =
            RgbImage::from_raw(heat.width as u32, heat.height as u32, heat.rgb).ok_or_else(failed)?;
        let mut png = Cursor::new(Vec::new());
        picture.write_to(&mut png, ImageFormat::Png).map_err(|_| failed())?;
        Ok::<_, RequestError>(png.into_inner())
    });
    let png = png.await.map_err(|_| RequestError::Internal("the heat map can't be made".into()))??;
    let mut response = ([(CONTENT_TYPE, "image/png")], png).into_response();
    if let Ok(name) = HeaderValue::from_str(&variant.name) {
        response.headers_mut().insert(INVOKED_VARIANT, name);
    }
    Ok(response)
}
