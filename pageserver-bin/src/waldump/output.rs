//! Where the text goes.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use walrecord::describe::Text;

/// Written at a time, bytes: what was just put together should still be in the processor's cache.
const CHUNK: usize = 64 << 10;

/// Standard output. Not the standard library's, which looks for line ends.
pub(super) struct Output(File);

/// Nobody reads the output any more: an end, but no error.
#[derive(Debug, thiserror::Error)]
#[error("standard output is closed")]
pub(super) struct Closed;

impl Output {
    pub(super) fn new() -> Result<Output> {
        let stdout = io::stdout().as_fd().try_clone_to_owned();
        Ok(Output(stdout.context("opening standard output")?.into()))
    }

    /// To a file.
    #[cfg(test)]
    pub(super) const fn to(file: File) -> Output {
        Output(file)
    }

    /// Writes the text if it has become long.
    #[inline]
    pub(super) fn write_long(&mut self, text: &mut Text) -> Result<()> {
        match text.len() < CHUNK {
            true => Ok(()),
            false => self.write(text),
        }
    }

    /// Writes the text, and clears it.
    pub(super) fn write(&mut self, text: &mut Text) -> Result<()> {
        let written = self.0.write_all(text.as_bytes());
        text.clear();
        match written {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Closed.into()),
            written => written.context("writing to standard output"),
        }
    }
}
