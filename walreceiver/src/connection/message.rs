//! The bodies of backend messages, as fields. Total: every length is checked, nothing panics.

use crate::error::{ProtocolError, ServerError, SqlState, Tag};

/// Reads big-endian fields off the front of a message body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Body<'a> {
    tag: Tag,
    rest: &'a [u8],
}

impl<'a> Body<'a> {
    pub(crate) fn new(tag: u8, rest: &'a [u8]) -> Body<'a> {
        Body {
            tag: Tag(tag),
            rest,
        }
    }

    /// Everything that is left.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, ProtocolError> {
        Ok(self.array::<1>(field)?[0])
    }

    pub(crate) fn i16(&mut self, field: &'static str) -> Result<i16, ProtocolError> {
        self.array(field).map(i16::from_be_bytes)
    }

    pub(crate) fn i32(&mut self, field: &'static str) -> Result<i32, ProtocolError> {
        self.array(field).map(i32::from_be_bytes)
    }

    pub(crate) fn i64(&mut self, field: &'static str) -> Result<i64, ProtocolError> {
        self.array(field).map(i64::from_be_bytes)
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, ProtocolError> {
        self.array(field).map(u64::from_be_bytes)
    }

    pub(crate) fn array<const N: usize>(
        &mut self,
        field: &'static str,
    ) -> Result<[u8; N], ProtocolError> {
        match self.rest.split_first_chunk::<N>() {
            Some((array, rest)) => {
                self.rest = rest;
                Ok(*array)
            }
            None => Err(self.truncated(field)),
        }
    }

    pub(crate) fn bytes(
        &mut self,
        count: usize,
        field: &'static str,
    ) -> Result<&'a [u8], ProtocolError> {
        match self.rest.split_at_checked(count) {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(bytes)
            }
            None => Err(self.truncated(field)),
        }
    }

    /// A string up to its zero byte. What is not UTF-8 is replaced: a server may speak to us before
    /// it knows our encoding.
    pub(crate) fn text(&mut self, field: &'static str) -> Result<String, ProtocolError> {
        let end = self.rest.iter().position(|b| *b == 0);
        let end = end.ok_or_else(|| self.truncated(field))?;
        let bytes = self.bytes(end, field)?;
        self.u8(field)?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    fn truncated(&self, field: &'static str) -> ProtocolError {
        ProtocolError::Truncated {
            message: self.tag,
            field,
        }
    }
}

/// An `ErrorResponse` or `NoticeResponse`.
pub(crate) fn server_error(mut body: Body<'_>) -> Result<ServerError, ProtocolError> {
    let mut error = ServerError {
        severity: String::new(),
        code: SqlState::INTERNAL_ERROR,
        message: String::new(),
        detail: None,
        hint: None,
    };
    loop {
        let kind = body.u8("field type")?;
        if kind == 0 {
            return Ok(error);
        }
        let text = body.text("field")?;
        match kind {
            // The unlocalised severity comes second and wins.
            b'S' | b'V' => error.severity = text,
            b'C' => error.code = SqlState::from_text(&text),
            b'M' => error.message = text,
            b'D' => error.detail = Some(text),
            b'H' => error.hint = Some(text),
            _ => {}
        }
    }
}

/// The rows of one result set, as text or raw bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ResultSet {
    /// Column names.
    pub(crate) columns: Vec<String>,
    /// A value for each column; none is NULL.
    pub(crate) rows: Vec<Vec<Option<Vec<u8>>>>,
}

/// The column names of a `RowDescription`.
pub(crate) fn row_description(mut body: Body<'_>) -> Result<Vec<String>, ProtocolError> {
    /// Table, column, type, size, modifier, format.
    const ATTRIBUTES: usize = 4 + 2 + 4 + 2 + 4 + 2;
    let count = body.i16("number of columns")?;
    (0..count)
        .map(|_| {
            let name = body.text("column name")?;
            body.bytes(ATTRIBUTES, "column attributes")?;
            Ok(name)
        })
        .collect()
}

/// The values of a `DataRow`.
pub(crate) fn data_row(mut body: Body<'_>) -> Result<Vec<Option<Vec<u8>>>, ProtocolError> {
    let count = body.i16("number of values")?;
    (0..count)
        .map(|_| match usize::try_from(body.i32("value length")?) {
            Ok(length) => Ok(Some(body.bytes(length, "value")?.to_vec())),
            Err(_) => Ok(None),
        })
        .collect()
}
