//! Whole-system tests, one module for each guarantee.

mod oracle;
