//! Native WAL redo: (page, record) to page, byte for byte as PostgreSQL's own recovery.

pub use walrecord::RedoRules;
