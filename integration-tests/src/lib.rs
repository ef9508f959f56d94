//! Whole-system tests against real PostgreSQL
