//! Record bodies.
mod walk;
#[test]
fn placeholder() { let _ = walk::walk; }
