//! The bytes of the protocols, without I/O: requests and responses of the page stream, and as much of
//! the Postgres protocol around them as they need. Both sides, so that one test holds them together.

pub(crate) mod frame;
pub(crate) mod message;
pub(crate) mod request;
pub(crate) mod response;
