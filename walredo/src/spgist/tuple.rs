//! Tuples of SP-GiST pages (access/spgist_private.h): leaf, inner and dead ones have their state in the
//! first two bits.

use walrecord::rmgr::spgist::State as IndexState;

use crate::error::Fault;
use crate::tuple::Tid;

// `SpGistLeafTupleData`: state and size, a word with the link, a heap TID. Dead tuples
// (`SpGistDeadTupleData`) have an index TID in its place, and a transaction id behind.
const LINK: usize = 4;
const POINTER: usize = LINK + 2;
const POINTER_END: usize = POINTER + 6;
const LEAF_HEADER_SIZE: usize = POINTER_END;
const DEAD_XID: usize = POINTER_END;
/// Bytes of a dead tuple (`SGDTSIZE`).
const DEAD_SIZE: usize = DEAD_XID + 4;

/// The bits of the word that are the link, the line pointer of the next tuple of the list.
const LINK_MASK: u16 = 0x3FFF;

// `SpGistInnerTupleData`: state, a bit, 13 bits number of nodes, 16 bits size of prefix; size.
const INNER_HEADER_SIZE: usize = 8;
const NODES_SHIFT: u32 = 3;
const PREFIX_SIZE_SHIFT: u32 = 16;
// `SpGistNodeTupleData`, an index tuple: the downlink, and the size among flags.
const NODE_INFO: usize = 6;
const NODE_HEADER_SIZE: usize = 8;
const NODE_SIZE_MASK: u16 = 0x1FFF;

/// A tuple's state (`tupstate`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum TupleState {
    /// A leaf or inner tuple.
    Live = 0,
    /// What stood here is elsewhere.
    Redirect = 1,
    /// What stood here is gone, but a downlink leads here.
    Dead = 2,
    /// What stood here is gone; the line pointer may be used again.
    Placeholder = 3,
}

impl TupleState {
    /// Reads the state of a tuple of any kind.
    pub(super) fn of(tuple: &[u8]) -> Result<TupleState, Fault> {
        match tuple.first().ok_or_else(|| short(0, LINK))? & 3 {
            0 => Ok(TupleState::Live),
            1 => Ok(TupleState::Redirect),
            2 => Ok(TupleState::Dead),
            _ => Ok(TupleState::Placeholder),
        }
    }

    /// Demands a state of a tuple.
    pub(super) fn check(self, tuple: &[u8]) -> Result<(), Fault> {
        let found = TupleState::of(tuple)?;
        if found == self {
            return Ok(());
        }
        Err(Fault::Value {
            what: "a tuple's state",
            found: found as u64,
            expected: self as u64,
        })
    }
}

/// A tuple in place of one that is gone (`spgFormDeadTuple`, spgutils.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeadTuple {
    /// Leads to where it went, for scans on their way.
    Redirect {
        /// Where it went.
        to: Tid,
        /// Who moved it. No scan needs the redirection once that is visible to all.
        xid: u32,
    },
    /// Keeps the head of an empty list.
    Dead,
    /// Keeps the line pointer.
    Placeholder,
}

impl DeadTuple {
    /// What takes the place of a tuple that moved. No scan runs while the index is built.
    pub(super) const fn moved(to: Tid, state: IndexState) -> DeadTuple {
        if state.is_build {
            DeadTuple::Placeholder
        } else {
            DeadTuple::Redirect { to, xid: state.xid }
        }
    }

    /// The tuple's bytes.
    pub(super) fn to_bytes(self) -> [u8; DEAD_SIZE] {
        const NOWHERE: Tid = Tid {
            block: u32::MAX,
            offset: 0,
        };
        let (state, to, xid) = match self {
            DeadTuple::Redirect { to, xid } => (TupleState::Redirect, to, xid),
            DeadTuple::Dead => (TupleState::Dead, NOWHERE, 0),
            DeadTuple::Placeholder => (TupleState::Placeholder, NOWHERE, 0),
        };
        let mut bytes = [0; DEAD_SIZE];
        let word = (DEAD_SIZE as u32) << 2 | state as u32;
        bytes[..LINK].copy_from_slice(&word.to_le_bytes());
        bytes[POINTER..POINTER_END].copy_from_slice(&to.to_bytes());
        bytes[DEAD_XID..].copy_from_slice(&xid.to_le_bytes());
        bytes
    }
}

/// Turns a redirection into a placeholder, which keeps its transaction id (`spgRedoVacuumRedirect`).
pub(super) fn redirect_to_placeholder(tuple: &mut [u8]) -> Result<(), Fault> {
    TupleState::Redirect.check(tuple)?;
    let length = tuple.len();
    let Some(pointer) = tuple.get_mut(POINTER..POINTER_END) else {
        return Err(short(length, DEAD_SIZE));
    };
    pointer.copy_from_slice(&[0xFF, 0xFF, 0xFF, 0xFF, 0, 0]);
    tuple[0] |= TupleState::Placeholder as u8;
    Ok(())
}

/// Links a leaf tuple to the next of its list; its flags beside the link stay
/// (`SGLT_SET_NEXTOFFSET`).
pub(super) fn set_link(tuple: &mut [u8], next: u16) -> Result<(), Fault> {
    TupleState::Live.check(tuple)?;
    if tuple.len() < LEAF_HEADER_SIZE {
        return Err(short(tuple.len(), LEAF_HEADER_SIZE));
    }
    let flags = u16::from_le_bytes([tuple[LINK], tuple[LINK + 1]]) & !LINK_MASK;
    let word = flags | next & LINK_MASK;
    tuple[LINK..POINTER].copy_from_slice(&word.to_le_bytes());
    Ok(())
}

/// Sets the downlink of an inner tuple's node, counted from zero (`spgUpdateNodeLink`,
/// spgdoinsert.c).
pub(super) fn set_downlink(tuple: &mut [u8], node: u16, to: Tid) -> Result<(), Fault> {
    TupleState::Live.check(tuple)?;
    let length = tuple.len();
    let Some((header, nodes)) = tuple.split_first_chunk_mut::<INNER_HEADER_SIZE>() else {
        return Err(short(length, INNER_HEADER_SIZE));
    };
    let word = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
    let count = (word as u16) >> NODES_SHIFT;
    if node >= count {
        return Err(Fault::Value {
            what: "an inner tuple's node",
            found: u64::from(node),
            expected: u64::from(count),
        });
    }
    let mut at = (word >> PREFIX_SIZE_SHIFT) as usize;
    for index in 0.. {
        let needed = INNER_HEADER_SIZE + at + NODE_HEADER_SIZE;
        let header = nodes
            .get_mut(at..)
            .and_then(|rest| rest.first_chunk_mut::<NODE_HEADER_SIZE>())
            .ok_or_else(|| short(length, needed))?;
        if index == node {
            header[..NODE_INFO].copy_from_slice(&to.to_bytes());
            break;
        }
        let info = u16::from_le_bytes([header[NODE_INFO], header[NODE_INFO + 1]]);
        at += usize::from(info & NODE_SIZE_MASK);
    }
    Ok(())
}

fn short(length: usize, needed: usize) -> Fault {
    Fault::Value {
        what: "a tuple's length",
        found: length as u64,
        expected: needed as u64,
    }
}
