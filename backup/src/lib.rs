//! Object storage for layers, WAL and manifests: upload, fencing, restore, on-demand reads.
//!
//! Nothing is implemented yet. The crate has its place in the workspace so that the arrows are fixed:
//! `pagecache` knows nothing of object storage, this crate nothing of the Postgres protocol, and
//! `pageserver-bin` puts them together. `run --remote-storage` does not exist before it does something.
