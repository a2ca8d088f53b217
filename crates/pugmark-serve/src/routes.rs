//! Which path answers what.

mod docs;
mod explain;
mod invocations;
mod state;
mod v2;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, Method, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::time::timeout;

use crate::app::App;
use crate::error::RequestError;

const CUSTOM_ATTRIBUTES: HeaderName = HeaderName::from_static("x-amzn-sagemaker-custom-attributes");
const TARGET_VARIANT: HeaderName = HeaderName::from_static("x-amzn-sagemaker-target-variant");
const INVOKED_VARIANT: HeaderName = HeaderName::from_static("x-amzn-invoked-production-variant");

/// All routes.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(state::page))
        .route("/docs", get(docs::page))
        .route("/openapi.json", get(docs::openapi))
        .route("/ping", get(state::ping))
        .route("/healthz", get(state::alive))
        .route("/readyz", get(state::ping))
        .route("/metrics", get(state::metrics))
        .route("/model", get(state::model))
        .route("/execution-parameters", get(state::execution_parameters))
        .route("/invocations", post(invocations::answer))
        .route("/explain", post(explain::answer))
        .route("/v2", get(v2::server))
        .route("/v2/health/live", get(state::alive))
        .route("/v2/health/ready", get(state::ping))
        .route("/v2/models/{name}", get(v2::model))
        .route("/v2/models/{name}/ready", get(v2::ready))
        .route("/v2/models/{name}/infer", post(v2::infer))
        .fallback(async |uri: Uri| RequestError::NotFound(format!("path {}", uri.path())))
        .method_not_allowed_fallback(async |method: Method| RequestError::Method(method.to_string()))
        .layer(from_fn_with_state(Arc::clone(&app), around))
        .with_state(app)
}

/// What every request has: a time limit, a place in the metrics, and its custom attributes back.
async fn around(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let _guard = InFlight::new(&app);
    // A path that is known, so that nobody can fill the metrics with others.
    let path = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let attributes = request.headers().get(CUSTOM_ATTRIBUTES).cloned();
    let mut response = match timeout(app.settings.limits.total, next.run(request)).await {
        Ok(response) => response,
        Err(_) => RequestError::Unavailable("the answer took too long").into_response(),
    };
    if let Some(attributes) = attributes {
        response.headers_mut().insert(CUSTOM_ATTRIBUTES, attributes);
    }
    app.metrics.request(&path, response.status().as_u16(), begun.elapsed());
    response
}

/// A request that is being answered, also where its connection breaks.
struct InFlight<'a>(&'a App);

impl<'a> InFlight<'a> {
    fn new(app: &'a App) -> Self {
        app.metrics.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(app)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.metrics.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
