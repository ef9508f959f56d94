//! `pageserver waldump`: WAL as `pg_waldump` of its version shows it. What is shown of a record is
//! `walrecord`'s; here is what to read, and where the text goes.

mod abreast;
mod args;
mod dump;
mod lines;
mod locate;
mod output;
mod run;
mod source;
mod zone;

pub use args::{RmgrChoice, Waldump};
pub use run::waldump;
