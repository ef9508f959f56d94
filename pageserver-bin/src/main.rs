//! The `pageserver` binary.
fn main() {}
