//! Cuts the byte stream of a backend into messages, with a ceiling on their length and one fixed
//! buffer. Serves [`Connection`](super::Connection).

use std::io::{self, Read};

use crate::error::{ProtocolError, Tag};

/// The longest message accepted, length word included. A WAL sender's are at most 128 KiB and a
/// little, a base backup's 32 KiB; errors, parameters and history files are far shorter.
pub(crate) const MAX_MESSAGE: u32 = 1 << 20;

/// Type byte and length word.
const HEADER: usize = 5;

/// Every acceptable message fits whole, so a message is always one slice of the buffer.
const BUFFER: usize = MAX_MESSAGE as usize + 1;

/// One message of the backend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) tag: u8,
    /// What follows the length word.
    pub(crate) body: &'a [u8],
}

/// Why no message could be read.
#[derive(Debug)]
pub(crate) enum FrameError {
    Io(io::Error),
    Protocol(ProtocolError),
    /// The stream ended, perhaps inside a message.
    Closed,
}

/// Reads messages off any byte stream.
#[derive(Debug)]
pub(crate) struct MessageReader<R> {
    source: R,
    /// Bytes received and not yet consumed are `buffer[start..end]`.
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl<R: Read> MessageReader<R> {
    pub(crate) fn new(source: R) -> MessageReader<R> {
        MessageReader {
            source,
            buffer: vec![0; BUFFER].into_boxed_slice(),
            start: 0,
            end: 0,
        }
    }

    pub(crate) fn source_mut(&mut self) -> &mut R {
        &mut self.source
    }

    /// The next message; waits for it.
    pub(crate) fn next(&mut self) -> Result<Message<'_>, FrameError> {
        let length = self.wait()?;
        let message = self.start..self.start + length;
        self.start = message.end;
        let bytes = &self.buffer[message];
        Ok(Message {
            tag: bytes[0],
            body: &bytes[HEADER..],
        })
    }

    /// The type of the next message; waits until the message is there whole.
    pub(crate) fn peek_tag(&mut self) -> Result<u8, FrameError> {
        self.wait()?;
        Ok(self.buffer[self.start])
    }

    /// The type of the next message if it is there whole.
    pub(crate) fn buffered_tag(&self) -> Result<Option<u8>, ProtocolError> {
        Ok(self.buffered()?.map(|_| self.buffer[self.start]))
    }

    /// Waits until a message is there whole, and returns its length with header.
    fn wait(&mut self) -> Result<usize, FrameError> {
        loop {
            if let Some(length) = self.buffered().map_err(FrameError::Protocol)? {
                return Ok(length);
            }
            self.fill()?;
        }
    }

    /// The length with header of the message at the front, if it is whole.
    fn buffered(&self) -> Result<Option<usize>, ProtocolError> {
        let bytes = &self.buffer[self.start..self.end];
        let Some((header, _)) = bytes.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let [tag, length @ ..] = *header;
        let length = u32::from_be_bytes(length);
        if !(4..=MAX_MESSAGE).contains(&length) {
            return Err(ProtocolError::Length {
                tag: Tag(tag),
                length,
                ceiling: MAX_MESSAGE,
            });
        }
        let whole = length as usize + 1;
        Ok((bytes.len() >= whole).then_some(whole))
    }

    fn fill(&mut self) -> Result<(), FrameError> {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        } else if self.start > 0 && self.buffer.len() - self.end < self.buffer.len() / 2 {
            // Only the beginning of one message is moved, so this costs at most its length.
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let count = self
            .source
            .read(&mut self.buffer[self.end..])
            .map_err(FrameError::Io)?;
        if count == 0 {
            return Err(FrameError::Closed);
        }
        self.end += count;
        Ok(())
    }
}
