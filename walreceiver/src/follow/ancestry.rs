//! Where our history and a server's part: both are lists of Postgres timelines, each left at some position for the
//! next.

use walrecord::{Lsn, PgTimelineId};

use crate::command::TimelineFork;

/// A history: the timelines before, if they are known, and the one that goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lineage<'a> {
    /// Oldest first; none if only the last timeline is known.
    pub(super) before: Option<&'a [TimelineFork]>,
    /// The timeline that goes on, and how far it is.
    pub(super) last: TimelineFork,
}

/// What a server's history is to ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kinship {
    /// Ours is the beginning of it. Where the server left our timeline, if it did.
    Continues(Option<Lsn>),
    /// They part below our end.
    Forked {
        /// The last timeline that both have.
        timeline: PgTimelineId,
        /// Up to here both have the same.
        fork: Lsn,
    },
    /// They have nothing in common.
    Unrelated,
}

/// Compares our history with that of a server whose timeline is not below ours.
pub(super) fn compare(ours: Lineage<'_>, server: Lineage<'_>) -> Kinship {
    let theirs = server.before.unwrap_or_default();
    let known = match ours.before {
        Some(_) => 0,
        // What we do not know of ourselves cannot differ.
        None => {
            let is_ours = |fork: &TimelineFork| fork.timeline == ours.last.timeline;
            theirs.iter().position(is_ours).unwrap_or(theirs.len())
        }
    };
    let mut theirs = theirs[known..].iter().copied().chain([TimelineFork {
        // It goes on: how far it is by now does not matter.
        end: Lsn::MAX,
        ..server.last
    }]);
    let mut common = None;
    for our in ours.before.unwrap_or_default() {
        match theirs.next().filter(|their| their.timeline == our.timeline) {
            Some(their) if their.end == our.end => common = Some(*our),
            Some(their) => {
                return Kinship::Forked {
                    timeline: our.timeline,
                    fork: our.end.min(their.end),
                };
            }
            None => return parted(common),
        }
    }
    let (our, their) = (ours.last, theirs.next());
    match their.filter(|their| their.timeline == our.timeline) {
        Some(their) if their.end < our.end => Kinship::Forked {
            timeline: our.timeline,
            fork: their.end,
        },
        Some(their) => Kinship::Continues((their.end < Lsn::MAX).then_some(their.end)),
        None => parted(common),
    }
}

fn parted(common: Option<TimelineFork>) -> Kinship {
    common.map_or(Kinship::Unrelated, |common| Kinship::Forked {
        timeline: common.timeline,
        fork: common.end,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forks(list: &[(PgTimelineId, u64)]) -> Vec<TimelineFork> {
        let fork = |(timeline, end): &(PgTimelineId, u64)| TimelineFork {
            timeline: *timeline,
            end: Lsn::new(*end),
        };
        list.iter().map(fork).collect()
    }

    /// The last of each list is the timeline that goes on.
    fn kinship(ours: &[(PgTimelineId, u64)], server: &[(PgTimelineId, u64)]) -> Kinship {
        let (ours, server) = (forks(ours), forks(server));
        let lineage = |list: &'static [TimelineFork]| {
            let (last, before) = list.split_last().unwrap();
            Lineage {
                before: Some(before),
                last: *last,
            }
        };
        compare(lineage(ours.leak()), lineage(server.leak()))
    }

    fn forked(timeline: PgTimelineId, fork: u64) -> Kinship {
        Kinship::Forked {
            timeline,
            fork: Lsn::new(fork),
        }
    }

    #[test]
    fn a_server_that_goes_on_from_our_end_continues() {
        assert_eq!(kinship(&[(1, 50)], &[(1, 40)]), Kinship::Continues(None));
        for left in [50, 60] {
            let expected = Kinship::Continues(Some(Lsn::new(left)));
            assert_eq!(kinship(&[(1, 50)], &[(1, left), (2, 90)]), expected);
            assert_eq!(
                kinship(&[(1, 20), (2, 50)], &[(1, 20), (2, left), (5, 90)]),
                expected
            );
        }
    }

    #[test]
    fn a_server_that_left_below_our_end_forks_there() {
        assert_eq!(kinship(&[(1, 50)], &[(1, 49), (2, 90)]), forked(1, 49));
        let ours = [(1, 20), (2, 50)];
        assert_eq!(kinship(&ours, &[(1, 20), (2, 30), (3, 90)]), forked(2, 30));
    }

    /// Two standbys were promoted, and we went with the one that is gone.
    #[test]
    fn histories_that_part_before_our_timeline_fork_where_the_first_left() {
        let ours = [(1, 20), (2, 50)];
        assert_eq!(kinship(&ours, &[(1, 10), (2, 90)]), forked(1, 10));
        assert_eq!(kinship(&ours, &[(1, 30), (2, 90)]), forked(1, 20));
        assert_eq!(kinship(&ours, &[(1, 10), (3, 90)]), forked(1, 10));
        assert_eq!(kinship(&ours, &[(1, 20), (3, 90)]), forked(1, 20));
    }

    #[test]
    fn without_a_timeline_in_common_they_are_unrelated() {
        assert_eq!(kinship(&[(1, 50)], &[(2, 60), (3, 90)]), Kinship::Unrelated);
        assert_eq!(kinship(&[(3, 50)], &[(1, 20), (4, 90)]), Kinship::Unrelated);
    }

    #[test]
    fn only_what_is_known_of_our_own_history_is_compared() {
        let before = forks(&[(1, 10), (2, 60)]);
        let server = Lineage {
            before: Some(&before),
            last: forks(&[(3, 90)])[0],
        };
        let ours = |timeline, end| Lineage {
            before: None,
            last: forks(&[(timeline, end)])[0],
        };
        let left = Kinship::Continues(Some(Lsn::new(60)));
        assert_eq!(compare(ours(2, 50), server), left);
        assert_eq!(compare(ours(2, 70), server), forked(2, 60));
        assert_eq!(compare(ours(3, 70), server), Kinship::Continues(None));
        assert_eq!(compare(ours(4, 70), server), Kinship::Unrelated);
    }
}
