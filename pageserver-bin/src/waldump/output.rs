//! Where the text goes.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use walrecord::describe::Text;

/// Written at a time, bytes: what was just put together should still be in the processor's cache.
const CHUNK: usize = 64 << 10;

/// Standard output, and the text on its way there. Not the standard library's, which looks for line
/// ends.
pub(super) struct Output {
    pub(super) text: Text,
    file: File,
}

/// Nobody reads the output any more: an end, but no error.
#[derive(Debug, thiserror::Error)]
#[error("standard output is closed")]
pub(super) struct Closed;

impl Output {
    pub(super) fn new(text: Text) -> Result<Output> {
        let stdout = io::stdout().as_fd().try_clone_to_owned();
        Ok(Output {
            text,
            file: stdout.context("opening standard output")?.into(),
        })
    }

    /// Writes the text if it has become long.
    #[inline]
    pub(super) fn flush_long(&mut self) -> Result<()> {
        match self.text.len() < CHUNK {
            true => Ok(()),
            false => self.flush(),
        }
    }

    /// Writes the text.
    pub(super) fn flush(&mut self) -> Result<()> {
        let written = self.file.write_all(self.text.as_bytes());
        self.text.clear();
        match written {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Closed.into()),
            written => written.context("writing to standard output"),
        }
    }
}
