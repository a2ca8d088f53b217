//! Which path answers what.

mod docs;
mod explain;
mod invocations;
mod models;
mod state;
mod v2;

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, Method, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use tokio::time::timeout;

use crate::app::App;
use crate::error::RequestError;
use crate::exchange::{Exchanges, InFlight};

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
        // Where SageMaker's runtime has it: its clients work here too.
        .route("/endpoints/{name}/invocations", post(invocations::answer))
        .route("/explain", post(explain::answer))
        .route("/models", post(models::load))
        .route("/models", get(models::list))
        .route("/models/{name}", get(models::one))
        .route("/models/{name}", delete(models::unload))
        .route("/models/{name}/invoke", post(models::invoke))
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

/// The name in a path.
struct Name(String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = RequestError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, RequestError> {
        let name = Path::from_request_parts(parts, state).await;
        name.map(|Path(name)| Self(name))
            .map_err(|_| RequestError::Bad("the name in the path is no UTF-8".into()))
    }
}

/// What every request has: a time limit, a place in the metrics and the log, and its custom attributes back.
async fn around(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let exchanges = request.extensions().get::<Exchanges>().cloned().unwrap_or_default();
    let in_flight = InFlight::new(Arc::clone(&app), &exchanges, &mut request);
    let request = request.map(|body| exchanges.incoming(body));
    let response = respond(&app, in_flight.route(), request, next).await;
    exchanges.outgoing(response, in_flight).await
}

async fn respond(app: &App, path: &str, request: Request, next: Next) -> Response {
    if app.settings.token.as_ref().is_some_and(|token| !token.lets_in(path, request.headers())) {
        return RequestError::Unauthorized.into_response();
    }
    let attributes = request.headers().get(CUSTOM_ATTRIBUTES).cloned();
    let mut response = match timeout(app.settings.limits.total, next.run(request)).await {
        Ok(response) => response,
        Err(_) => RequestError::Unavailable("the answer took too long").into_response(),
    };
    if let Some(attributes) = attributes {
        response.headers_mut().insert(CUSTOM_ATTRIBUTES, attributes);
    }
    response
}
