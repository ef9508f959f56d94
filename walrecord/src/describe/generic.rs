//! Descriptions of Generic records (access/rmgrdesc/genericdesc.c).

use crate::describe::Text;
use crate::reader::{Reader, Truncated};
use crate::record::Record;
use crate::rmgr::{BodyError, Rmgr};

/// Only main data is looked at, and no server writes any: what a generic record changes is in the data
/// of its blocks. So there is nothing to say of a real one.
pub(super) fn describe(record: &Record<'_>, out: &mut Text) -> Result<(), BodyError> {
    let rmgr = Rmgr::Generic;
    fragments(record.main_data, out).map_err(|cause| BodyError::Truncated { rmgr, cause })
}

fn fragments(main_data: &[u8], out: &mut Text) -> Result<(), Truncated> {
    let mut r = Reader::new(main_data);
    while r.left() > 0 {
        let offset = r.u16("fragment offset")?;
        let length = r.u16("fragment length")?;
        r.take("fragment", usize::from(length))?;
        out.str("offset ").dec(offset).str(", length ").dec(length);
        if r.left() > 0 {
            out.str("; ");
        }
    }
    Ok(())
}
