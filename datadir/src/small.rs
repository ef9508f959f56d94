//! Small state files: prepared transactions and replication origins.

use walrecord::{Lsn, Reader};

/// A state file that is damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateFileError {
    /// It is shorter than its fixed parts.
    #[error("it is cut off at {0} bytes")]
    Short(usize),
    /// Its magic number is wrong.
    #[error("its magic number is {0:#010x}")]
    Magic(u32),
    /// Its checksum is wrong.
    #[error("its CRC is {found:#010x}, computed {computed:#010x}")]
    Crc {
        /// The CRC it carries.
        found: u32,
        /// The CRC of its content.
        computed: u32,
    },
}

/// `TWOPHASE_MAGIC`, access/transam/twophase.c.
const TWO_PHASE_MAGIC: u32 = 0x57F9_4534;

/// `REPLICATION_STATE_MAGIC`, replication/logical/origin.c.
const ORIGINS_MAGIC: u32 = 0x1257_DADE;

/// Splits the CRC-32C off the end and checks it.
fn checked(file: &[u8]) -> Result<&[u8], StateFileError> {
    let (content, crc) = file
        .split_last_chunk::<4>()
        .ok_or(StateFileError::Short(file.len()))?;
    let (found, computed) = (u32::from_le_bytes(*crc), crc32c::crc32c(content));
    if found == computed {
        Ok(content)
    } else {
        Err(StateFileError::Crc { found, computed })
    }
}

fn sealed(mut content: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c(&content);
    content.extend_from_slice(&crc.to_le_bytes());
    content
}

fn magic(content: &[u8], expected: u32) -> Result<Reader<'_>, StateFileError> {
    let mut r = Reader::new(content);
    match r.u32("magic") {
        Ok(found) if found == expected => Ok(r),
        Ok(found) => Err(StateFileError::Magic(found)),
        Err(_) => Err(StateFileError::Short(content.len())),
    }
}

/// The state in a two-phase file: what the PREPARE record carries.
///
/// # Errors
/// If the file is damaged.
pub fn parse_two_phase(file: &[u8]) -> Result<&[u8], StateFileError> {
    let content = checked(file)?;
    magic(content, TWO_PHASE_MAGIC)?;
    Ok(content)
}

/// The two-phase file with this state.
pub fn two_phase_file(state: &[u8]) -> Vec<u8> {
    sealed(state.to_vec())
}

/// The origins in `pg_logical/replorigin_checkpoint`, with their positions.
///
/// # Errors
/// If the file is damaged.
pub fn parse_origins(file: &[u8]) -> Result<Vec<(u16, Lsn)>, StateFileError> {
    let content = checked(file)?;
    let mut r = magic(content, ORIGINS_MAGIC)?;
    let mut origins = Vec::new();
    let short = |_| StateFileError::Short(file.len());
    while r.left() > 0 {
        let origin = r.u16("origin").map_err(short)?;
        r.take("padding", 6).map_err(short)?;
        origins.push((origin, r.lsn("origin position").map_err(short)?));
    }
    Ok(origins)
}

/// The file that holds these origins.
pub fn origins_file(origins: &[(u16, Lsn)]) -> Vec<u8> {
    let mut content = ORIGINS_MAGIC.to_le_bytes().to_vec();
    for (origin, remote) in origins {
        content.extend_from_slice(&origin.to_le_bytes());
        content.extend_from_slice(&[0; 6]);
        content.extend_from_slice(&remote.get().to_le_bytes());
    }
    sealed(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_survive_and_damage_shows() {
        let origins = [(1, Lsn::new(0x1234)), (9, Lsn::new(7))];
        let mut file = origins_file(&origins);
        assert_eq!(parse_origins(&file), Ok(origins.to_vec()));
        file[6] ^= 1;
        assert!(matches!(
            parse_origins(&file),
            Err(StateFileError::Crc { .. })
        ));
        assert_eq!(parse_origins(b"abc"), Err(StateFileError::Short(3)));
    }

    #[test]
    fn a_two_phase_file_is_its_state_and_a_crc() {
        let mut state = TWO_PHASE_MAGIC.to_le_bytes().to_vec();
        state.extend_from_slice(b"rest");
        let file = two_phase_file(&state);
        assert_eq!(parse_two_phase(&file), Ok(&state[..]));
        let other = two_phase_file(b"abcdefgh");
        assert!(matches!(
            parse_two_phase(&other),
            Err(StateFileError::Magic(_))
        ));
    }
}
