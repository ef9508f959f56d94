//! What goes back over HTTP: a status, a type, a body; errors as JSON with a message.

use serde::Serialize;

use super::source::ErrorBody;
use crate::source::{ErrorKind, SourceError};

const JSON: &str = "application/json";

/// An answer, before it is wrapped for the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    /// The methods that the path takes: with status 405 only.
    pub(super) allow: Option<&'static str>,
    pub(super) body: Vec<u8>,
}

/// Why a request is refused before a source sees it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("there is nothing at {0}; see /v1/openapi.json")]
    NoRoute(String),
    #[error("this path takes {0} only")]
    Method(&'static str),
    #[error("{0:?} is no id or name of a tenant or timeline")]
    Name(String),
    #[error("the parameter {0} is missing")]
    Missing(&'static str),
    #[error("the parameter {0:?} is not known here, or given twice")]
    Parameter(String),
    #[error("the parameter {name}: {problem}")]
    Value { name: &'static str, problem: String },
    #[error("the body must be of type application/json")]
    ContentType,
    #[error("the body is not what is expected: {0}")]
    Body(String),
    #[error("the body is longer than {0} bytes")]
    BodyTooLong(usize),
    #[error("the body did not arrive in time")]
    SlowBody,
    #[error("the request failed for a reason inside the server; its log says more")]
    Panicked,
}

impl ApiError {
    fn status(&self) -> u16 {
        match self {
            ApiError::NoRoute(_) => 404,
            ApiError::Method(_) => 405,
            ApiError::SlowBody => 408,
            ApiError::BodyTooLong(_) => 413,
            ApiError::ContentType => 415,
            ApiError::Panicked => 500,
            ApiError::Name(_)
            | ApiError::Missing(_)
            | ApiError::Parameter(_)
            | ApiError::Value { .. }
            | ApiError::Body(_) => 400,
        }
    }
}

impl Answer {
    pub(super) fn json(value: &impl Serialize) -> Answer {
        match serde_json::to_vec(value) {
            Ok(body) => Answer::new(200, JSON, body),
            Err(error) => failure(500, error.to_string()),
        }
    }

    /// JSON that is written down already.
    pub(super) fn json_text(text: &str) -> Answer {
        Answer::new(200, JSON, text.as_bytes().to_vec())
    }

    pub(super) fn metrics(text: String) -> Answer {
        let content_type = "text/plain; version=0.0.4; charset=utf-8";
        Answer::new(200, content_type, text.into_bytes())
    }

    pub(super) fn bytes(bytes: &[u8]) -> Answer {
        Answer::new(200, "application/octet-stream", bytes.to_vec())
    }

    fn new(status: u16, content_type: &'static str, body: Vec<u8>) -> Answer {
        Answer {
            status,
            content_type,
            allow: None,
            body,
        }
    }
}

impl From<ApiError> for Answer {
    fn from(error: ApiError) -> Answer {
        let allow = match error {
            ApiError::Method(methods) => Some(methods),
            _ => None,
        };
        Answer {
            allow,
            ..failure(error.status(), error.to_string())
        }
    }
}

impl From<SourceError> for Answer {
    fn from(error: SourceError) -> Answer {
        let status = match error.kind() {
            ErrorKind::NotFound | ErrorKind::PastEnd => 404,
            ErrorKind::Invalid => 400,
            ErrorKind::NotReadable => 422,
            ErrorKind::Corrupt | ErrorKind::Internal => 500,
            ErrorKind::Unsupported => 501,
            ErrorKind::ShuttingDown => 503,
            ErrorKind::Timeout => 504,
        };
        failure(status, error.to_string())
    }
}

fn failure(status: u16, msg: String) -> Answer {
    // A struct with one text always has a JSON form.
    let body = serde_json::to_vec(&ErrorBody { msg }).unwrap_or_default();
    Answer::new(status, JSON, body)
}
