//! The layout of a PostgreSQL data directory: backups read, checkouts written
