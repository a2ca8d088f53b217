//! Who may ask: a token that requests name, and the certificate that the server shows.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use subtle::ConstantTimeEq;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::ServeError;

/// Fewer characters than that can be guessed.
const SHORTEST: usize = 16;

/// Paths that are answered without a token: they tell of no model, and who asks them has no token to send. The page asks for
/// the token itself.
const OPEN: [&str; 8] =
    ["/", "/docs", "/openapi.json", "/ping", "/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"];

/// What requests have to name (RFC 6750). It is never printed.
#[derive(Clone)]
pub struct Token(Arc<str>);

impl Token {
    /// A token from the text of a file or a variable; space around it is left out.
    ///
    /// # Errors
    /// [`ServeError::Token`] where it is short or no token that a header can hold.
    pub fn new(text: &str) -> Result<Self, ServeError> {
        let text = text.trim();
        match text.len() {
            0..SHORTEST => Err(ServeError::Token("has less than 16 characters")),
            _ if !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Err(ServeError::Token("has characters that are no visible ASCII"))
            }
            _ => Ok(Self(text.into())),
        }
    }

    /// Whether a request may be answered. Takes as long for a wrong token of the same length, wherever it is wrong.
    pub(crate) fn lets_in(&self, path: &str, headers: &HeaderMap) -> bool {
        if OPEN.contains(&path) {
            return true;
        }
        let Some((scheme, token)) =
            headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.split_once(' '))
        else {
            return false;
        };
        scheme.eq_ignore_ascii_case("bearer") && self.0.as_bytes().ct_eq(token.trim().as_bytes()).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    /// The server's certificate and those above it, in PEM.
    pub certificate: PathBuf,
    /// Its key, in PEM.
    pub key: PathBuf,
}

impl TlsSettings {
    /// Reads the files; TLS 1.2 and 1.3.
    pub(crate) fn load(&self) -> Result<Arc<ServerConfig>, ServeError> {
        let wrong = |path: &Path, why: String| ServeError::Tls { path: path.into(), why };
        let of = |error: &dyn fmt::Display| wrong(&self.certificate, error.to_string());
        let chain: Vec<_> = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect)
            .map_err(|error| of(&error))?;
        if chain.is_empty() {
            return Err(wrong(&self.certificate, "it has no certificate in PEM".into()));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| wrong(&self.key, format!("it has no key in PEM: {error}")))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(|error| of(&error))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn tokens() {
        let secret = "0123456789abcdef+/=~";
        let token = Token::new(&format!(" {secret}\n")).unwrap();
        assert_eq!(format!("{token:?}"), "Token");
        let asked = |path: &str, said: &str| {
            let mut headers = HeaderMap::new();
            if !said.is_empty() {
                headers.insert(AUTHORIZATION, HeaderValue::from_str(said).unwrap());
            }
            token.lets_in(path, &headers)
        };
        assert!(asked("/invocations", &format!("Bearer {secret}")));
        assert!(asked("/invocations", &format!("bearer  {secret}")));
        for said in
            ["", "Bearer", "Bearer ", secret, &format!("Basic {secret}"), &format!("Bearer {secret}x")]
        {
            assert!(!asked("/invocations", said), "{said}");
            assert!(!asked("other", said), "{said}");
            assert!(OPEN.iter().all(|path| asked(path, said)), "{said}");
        }
        assert!(!asked("/invocations", &format!("Bearer {}", &secret[1..])));
        for bad in ["", "short", "0123456789abcde ", "0123456789 abcdefgh", "0123456789abcdefä"] {
            assert!(Token::new(bad).is_err(), "{bad}");
        }
    }
}
