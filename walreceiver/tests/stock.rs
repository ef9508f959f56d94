//! Against a real PostgreSQL 15: a module for each thing that a user relies on.

mod support;

#[path = "stock/backup.rs"]
mod backup;
#[path = "stock/commands.rs"]
mod commands;
#[path = "stock/failover.rs"]
mod failover;
#[path = "stock/login.rs"]
mod login;
#[path = "stock/streaming.rs"]
mod streaming;
#[path = "stock/tls.rs"]
mod tls;
