//! HTTP: `/v1` as JSON, `/metrics` for Prometheus. The routes and what they answer are plain functions
//! on values (`api`); a thread with a small runtime carries them (`service`).

mod answer;
mod api;
mod params;
mod service;
mod source;

pub use api::HttpSources;
pub use service::HttpService;
pub use source::{
    CheckoutRequest, CheckpointDone, ErrorBody, ReceiverState, ServerStatus, StatusSource,
    TenantStatus, TimelineStatus,
};

use std::sync::Arc;
/// STUB
pub struct HttpService;
#[allow(missing_docs)]
impl HttpService {
    pub fn start(
        _: crate::Listen,
        _: Arc<dyn StatusSource>,
        _: Arc<dyn crate::PageSource>,
        _: &slog::Logger,
    ) -> Result<HttpService, crate::StartError> {
        Ok(HttpService)
    }
    pub fn local_addr(&self) -> std::net::SocketAddr {
        ([127, 0, 0, 1], 0).into()
    }
    pub fn stop(&self) {}
}
