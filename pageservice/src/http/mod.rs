//! HTTP: `/v1` as JSON, `/metrics` for Prometheus.

mod source;

pub use source::{
    CheckoutRequest, CheckpointDone, ErrorBody, ReceiverState, ServerStatus, StatusSource,
    TenantStatus, TimelineStatus,
};
