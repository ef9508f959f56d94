//! Against a scripted server: what a broken, hostile or silent peer may do, and what follows.

mod support;

#[path = "protocol/backup.rs"]
mod backup;
#[path = "protocol/follow.rs"]
mod follow;
#[path = "protocol/login.rs"]
mod login;
#[path = "protocol/stream.rs"]
mod stream;
