//! Values that are a file's content, or nothing.

use walrecord::Reader;

use super::MetaError;

/// A value that may be gone: two-phase state, a tablespace's path, an origin's position, a relation map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tombstoned<'a>(pub(crate) Option<&'a [u8]>);

impl<'a> Tombstoned<'a> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        out.push(u8::from(self.0.is_some()));
        out.extend_from_slice(self.0.unwrap_or(&[]));
    }

    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Tombstoned<'a>, MetaError> {
        let mut r = Reader::new(bytes);
        match r.u8("value exists")? {
            0 => Ok(Tombstoned(None)),
            1 => Ok(Tombstoned(Some(r.take_rest()))),
            found => Err(MetaError::Field {
                field: "value exists",
                found: u64::from(found),
            }),
        }
    }
}

/// A file kept from the import as it was: its path below the data directory, and its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileValue {
    pub(crate) path: String,
    pub(crate) content: Vec<u8>,
}

impl FileValue {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&(self.path.len() as u32).to_le_bytes());
        out.extend_from_slice(self.path.as_bytes());
        out.extend_from_slice(&self.content);
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<FileValue, MetaError> {
        let mut r = Reader::new(bytes);
        let length = r.u32("path length")? as usize;
        let path = r.take("path", length)?;
        Ok(FileValue {
            path: String::from_utf8(path.to_vec()).map_err(|_| MetaError::Path)?,
            content: r.take_rest().to_vec(),
        })
    }
}
