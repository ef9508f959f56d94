//! Replication client: attach to a stock primary, base backup, WAL streaming
