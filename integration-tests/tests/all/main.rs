//! Whole-system tests, one module for each guarantee.

mod backup_files;
mod bad_clients;
mod failed_import;
mod failover;
mod faults;
mod follow;
mod kill;
mod memory;
mod oracle;
mod standby;
mod time;

/// The real program, built with these tests.
const PROGRAM: &str = env!("CARGO_BIN_EXE_pageserver-under-test");
