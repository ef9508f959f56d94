//! Where to go on after a restart.

use walrecord::Lsn;

use crate::stream::Held;

/// Where streaming goes on: as early as needed to have unverified bytes sent again, as late as the
/// slot forces.
///
/// `held` is what the store has; `restart_lsn` is what the slot keeps WAL from, if known
/// (`READ_REPLICATION_SLOT`, 15 and newer). Bytes from `valid_end` on may be torn by a crash of this
/// machine, so they are asked for again; but if they were acknowledged as durable, the slot has
/// moved past them and the server may have removed them. They were synced then, and are kept.
pub fn resume_point(held: Held, restart_lsn: Option<Lsn>) -> Lsn {
    match restart_lsn {
        Some(restart_lsn) => held.valid_end.max(held.file_end.min(restart_lsn)),
        None => held.valid_end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resume(valid_end: u64, file_end: u64, restart_lsn: Option<u64>) -> u64 {
        let held = Held {
            valid_end: Lsn::new(valid_end),
            file_end: Lsn::new(file_end),
        };
        resume_point(held, restart_lsn.map(Lsn::new)).get()
    }

    #[test]
    fn without_a_known_slot_everything_unverified_is_sent_again() {
        assert_eq!(resume(100, 150, None), 100);
    }

    #[test]
    fn what_the_slot_passed_is_kept() {
        assert_eq!(resume(100, 150, Some(120)), 120);
    }

    #[test]
    fn a_slot_behind_us_changes_nothing() {
        assert_eq!(resume(100, 150, Some(80)), 100);
    }

    #[test]
    fn a_slot_beyond_our_file_cannot_make_us_skip() {
        assert_eq!(resume(100, 150, Some(999)), 150);
    }
}
