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
