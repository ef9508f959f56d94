//! A client of `/v1` of a running server.

use anyhow::{Context, Result, bail};
use pageservice::http::ErrorBody;
use serde::de::DeserializeOwned;

/// The largest answer that is read, in bytes.
const MAX_ANSWER: u64 = 64 << 20;

/// A running server.
pub(super) struct Server {
    base: String,
    agent: ureq::Agent,
}

impl Server {
    pub(super) fn new(url: &str) -> Server {
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        Server {
            base: url.trim_end_matches('/').to_owned(),
            agent: config.build().into(),
        }
    }

    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        serde_json::from_slice(&self.get_bytes(path)?)
            .with_context(|| format!("the answer to {path} is not what was expected"))
    }

    pub(super) fn get_bytes(&self, path: &str) -> Result<Vec<u8>> {
        let url = format!("{}{path}", self.base);
        let answer = self.agent.get(&url).call();
        self.body(answer, &url)
    }

    pub(super) fn post<T: DeserializeOwned>(&self, path: &str, body: &str) -> Result<T> {
        let url = format!("{}{path}", self.base);
        let answer = self
            .agent
            .post(&url)
            .header("content-type", "application/json")
            .send(body);
        serde_json::from_slice(&self.body(answer, &url)?)
            .with_context(|| format!("the answer to {path} is not what was expected"))
    }

    pub(super) fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let url = format!("{}{path}", self.base);
        let answer = self.agent.delete(&url).call();
        serde_json::from_slice(&self.body(answer, &url)?)
            .with_context(|| format!("the answer to {path} is not what was expected"))
    }

    fn body(
        &self,
        answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
        url: &str,
    ) -> Result<Vec<u8>> {
        let mut answer = answer.with_context(|| {
            format!("no page server answers at {url}; is it running, and is --server right?")
        })?;
        let status = answer.status();
        let body = answer
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER)
            .read_to_vec()
            .with_context(|| format!("reading the answer of {url}"))?;
        if status.is_success() {
            return Ok(body);
        }
        match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(error) => bail!("{}", error.msg),
            Err(_) => bail!("{url} answered {status}"),
        }
    }
}
