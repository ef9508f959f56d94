//! HTTP: `/v1` as JSON, `/metrics` for Prometheus.

mod source;

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
