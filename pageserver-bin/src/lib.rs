//! The parts of the `pageserver` binary: how the crates are put together. Public for the whole-system
//! tests; nothing here is an interface to build on.

pub mod allocator;
pub mod checkout;
pub mod cli;
pub mod command;
pub mod config;
pub mod demo;
pub mod follow;
pub mod import;
pub mod log;
pub mod maintain;
pub mod moment;
mod page_dump;
pub mod past;
pub mod receivers;
pub mod run;
mod segment_file;
mod selftest;
pub mod serve;
pub mod status;
pub mod stop;
pub mod truth;
pub mod waldump;
