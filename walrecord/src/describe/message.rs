//! Descriptions of LogicalMessage records (access/rmgrdesc/logicalmsgdesc.c).

use crate::describe::Text;
use crate::record::Record;
use crate::rmgr::BodyError;
use crate::rmgr::message::LogicalMessage;

pub(super) fn describe(record: &Record<'_>, out: &mut Text) -> Result<(), BodyError> {
    let decoded = LogicalMessage::decode(record)?;
    out.str(match decoded.transactional {
        true => "transactional, prefix \"",
        false => "non-transactional, prefix \"",
    });
    out.c_str(decoded.prefix).str("\"; payload (");
    out.dec(decoded.message.len() as u64).str(" bytes): ");
    let mut bytes = decoded.message.iter();
    if let Some(first) = bytes.next() {
        out.hex_upper(u64::from(*first), 2);
    }
    for byte in bytes {
        out.byte(b' ').hex_upper(u64::from(*byte), 2);
    }
    Ok(())
}
