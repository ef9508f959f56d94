//! HTTP: `/v1` as JSON, `/metrics` for Prometheus. The routes and what they answer are plain functions
//! on values (`api`); a thread with a small runtime carries them (`service`).

mod answer;
mod api;
mod history;
mod maintenance;
mod params;
mod service;
mod source;

pub use api::HttpSources;
pub use history::{
    Finding, HistoryRequest, HistorySource, LsnOfTime, MAX_VERSIONS, PageHistory, PageVersion,
    TimeKind, TimeOfLsn, TransactionEnd, VerifyDone,
};
pub use maintenance::{
    BranchRequest, CompactDone, DEFAULT_LEASE_SECONDS, DeleteDone, FollowRequest, GcDone,
    HeldPoint, LeaseDone, LeaseRequest, MaintenanceSource,
};
pub use service::HttpService;
pub use source::{
    CheckoutRequest, CheckpointDone, ErrorBody, ReadState, ReceiverState, ServerStatus,
    StatusSource, SupersededState, TenantStatus, TimelineStatus, UpstreamState,
};

/// For fuzzing: reads the query of a URL as that of every path. What is read can be written again.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_query(text: &str) {
    if let Ok(params) = params::PageParams::parse(text) {
        let again = format!(
            "rel={}&fork={}&block={}{}",
            params.tag.rel,
            params.tag.fork,
            params.tag.block,
            params
                .lsn
                .map_or(String::new(), |lsn| format!("&lsn={lsn}"))
        );
        assert!(params::PageParams::parse(&again).is_ok_and(|read| read == params));
    }
    let _ = params::history(text);
    let _ = params::take(text, []);
}
