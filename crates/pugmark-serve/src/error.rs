use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use pugmark_data::PhotoError;
use pugmark_model::ModelError;
use serde::Serialize;
use thiserror::Error;

/// Why there is no server.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A model can't be opened.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The address can't be listened on.
    #[error("can't listen on {address}: {source}")]
    Listen {
        /// Host and port.
        address: std::net::SocketAddr,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Requests can't be kept where they were to be.
    #[error("can't keep requests in {}: {source}", path.display())]
    Capture {
        /// The folder.
        path: std::path::PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A folder has no model file, or several and none that is the best or the last.
    #[error("{} holds {files} model files and no best.safetensors", path.display())]
    NoModel {
        /// The folder.
        path: std::path::PathBuf,
        /// Model files in it.
        files: usize,
    },
    /// A folder can't be read.
    #[error("can't read {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: std::path::PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A token that is none.
    #[error("the token {0}")]
    Token(&'static str),
    /// A certificate or its key can't be used.
    #[error("can't use {} for TLS: {why}", path.display())]
    Tls {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// There is no collector of that name.
    #[error("can't send spans to {url}: {why}")]
    Collector {
        /// Its URL.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// A header for the collector that is none; its value may be a secret.
    #[error("the collector can't be sent the header `{0}`")]
    CollectorHeader(String),
    /// The system refuses threads.
    #[error("can't start the server: {0}")]
    Start(#[source] std::io::Error),
}

impl ServeError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Model(error) => error.hint(),
            Self::Listen { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => Some(
                "another program listens there: choose another `--port`, or 0 for any that is free".into(),
            ),
            Self::Capture { .. } => Some("name a folder that can be written to".into()),
            Self::NoModel { .. } => Some(
                "put one into the archive of the model: tar -czf model.tar.gz -C RUN best.safetensors".into(),
            ),
            Self::Token(_) => Some("`openssl rand -hex 32` makes a good one".into()),
            Self::Tls { .. } => Some(
                "PEM is read: the certificate with those above it, and its key in PKCS #8, PKCS #1 or SEC 1"
                    .into(),
            ),
            Self::Collector { .. } => {
                Some("name the collector's port for OTLP over HTTP, such as http://localhost:4318".into())
            }
            Self::CollectorHeader(_) => Some(
                "OTEL_EXPORTER_OTLP_HEADERS is `name=value,name=value`, with `%2C` for a comma in a value"
                    .into(),
            ),
            Self::Listen { .. } | Self::Folder { .. } | Self::Start(_) => None,
        }
    }
}

/// Why a request has no answer. The one place where reasons become status codes.
#[derive(Debug, Clone, Error)]
pub(crate) enum RequestError {
    /// The request or its photo makes no sense.
    #[error("{0}")]
    Bad(String),
    /// A model that can't be loaded as it is named.
    #[error("{0}")]
    Model(String),
    /// The client stopped sending.
    #[error("the request was not sent within {} s", .0.as_secs())]
    TooSlow(Duration),
    /// More than is taken.
    #[error("{0}")]
    TooLarge(String),
    /// Nothing that is read here.
    #[error("{0}")]
    Unsupported(String),
    /// No answer of that type.
    #[error("no answer can be given as `{0}`")]
    NotAcceptable(String),
    /// Not without the token.
    #[error("the request does not name the server's token")]
    Unauthorized,
    /// Nothing there.
    #[error("there is no {0}")]
    NotFound(String),
    /// There, but not for this method.
    #[error("this path does not answer {0}")]
    Method(String),
    /// There is one already.
    #[error("{0}")]
    Conflict(String),
    /// No memory for one more.
    #[error("{0}")]
    NoMemory(String),
    /// Too much to do at the moment.
    #[error("{0}")]
    Busy(&'static str),
    /// Not now.
    #[error("{0}")]
    Unavailable(&'static str),
    /// A fault of the server.
    #[error("{0}")]
    Internal(String),
}

/// The body of an error.
#[derive(Serialize)]
struct Said<'a> {
    error: &'a str,
    hint: &'a str,
    status: u16,
}

impl RequestError {
    /// The status of its answer.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Bad(_) | Self::Model(_) => StatusCode::BAD_REQUEST,
            Self::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unsupported(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NotAcceptable(_) => StatusCode::NOT_ACCEPTABLE,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict(_) => StatusCode::CONFLICT,
            // What SageMaker unloads other models for.
            Self::NoMemory(_) => StatusCode::INSUFFICIENT_STORAGE,
            Self::Busy(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Why, in so many characters at most: it may repeat what the client sent.
    pub(crate) fn message(&self) -> String {
        const MOST: usize = 500;
        let mut text = self.to_string();
        if let Some((end, _)) = text.char_indices().nth(MOST) {
            text.truncate(end);
            text.push_str("...");
        }
        text
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Bad(_) => "send a photo that opens elsewhere; GET /docs shows every form that is read",
            Self::Model(_) => {
                "name a model file of pugmark's, or a folder with one, below the folder that `--models` names"
            }
            Self::TooSlow(_) => "send the body at once",
            Self::TooLarge(_) => "send a smaller photo, or fewer in one request; GET /model tells the limits",
            Self::Unsupported(_) => {
                "send a JPEG, PNG, WebP, BMP, TIFF, PNM or GIF photo, application/x-npy, application/json, \
                 application/jsonlines or multipart/form-data"
            }
            Self::NotAcceptable(_) => "ask for application/json, application/jsonlines or text/csv",
            Self::Unauthorized => "send the header `Authorization: Bearer TOKEN`",
            Self::NotFound(_) | Self::Method(_) => "GET /docs lists what there is",
            Self::Conflict(_) => {
                "DELETE /models/NAME unloads a model; `main` and variants stay as they were started"
            }
            Self::NoMemory(_) => "unload another model first: DELETE /models/NAME",
            Self::Busy(_) | Self::Unavailable(_) => "try again after the seconds that Retry-After says",
            Self::Internal(_) => "this is a fault of the server: please report it, with what was sent",
        }
    }
}

impl From<PhotoError> for RequestError {
    fn from(error: PhotoError) -> Self {
        let reason = error.reason();
        match error {
            PhotoError::UnknownFormat => Self::Unsupported(reason),
            PhotoError::TooManyBytes { .. } | PhotoError::TooLarge { .. } => Self::TooLarge(reason),
            _ => Self::Bad(reason),
        }
    }
}

impl IntoResponse for RequestError {
    fn into_response(self) -> Response {
        let status = self.status();
        let said = Said { error: &self.message(), hint: self.hint(), status: status.as_u16() };
        let body = serde_json::to_string(&said).unwrap_or_default() + "\n";
        let mut response = (status, [(CONTENT_TYPE, "application/json")], body).into_response();
        if matches!(self, Self::Busy(_) | Self::Unavailable(_)) {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if matches!(self, Self::Unauthorized) {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
