//! The wire: page stream over the Postgres protocol, HTTP
