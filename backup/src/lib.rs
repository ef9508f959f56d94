//! Object storage for layers, WAL and manifests
