//! Which runs to merge next. Decides from sizes and LSNs alone.

use walrecord::Lsn;

use crate::layer::RunId;
use crate::timeline::runs::Run;

/// A collection of garbage waits until the runs that nobody needs whole have this part of the oldest's bytes:
/// more lets garbage stand, less rewrites more for it.
const GARBAGE_PART: u64 = 4;

/// A merge above the cutoff makes no run of more than this part of the window: garbage is only collected of
/// runs that lie below the cutoff whole.
const WINDOW_PART: u64 = 8;

/// What is known of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunSize {
    pub(super) id: RunId,
    pub(super) bytes: u64,
    pub(super) min_lsn: Lsn,
    pub(super) max_lsn: Lsn,
    /// Written to be merged once more.
    pub(super) is_makeshift: bool,
}

impl From<&Run> for RunSize {
    fn from(run: &Run) -> RunSize {
        RunSize {
            id: run.id(),
            bytes: run.bytes(),
            min_lsn: run.min_lsn(),
            max_lsn: run.max_lsn(),
            is_makeshift: run.is_makeshift(),
        }
    }
}

/// What the choice depends on besides the runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    /// Runs of about one size that become one.
    pub(super) merge_runs: usize,
    /// Bytes of a small run. Smaller ones count as of one size.
    pub(super) small: u64,
    /// The oldest run is the base that all others rest on; a branch has none.
    pub(super) has_base: bool,
    /// Below are single points only; zero if all is kept.
    pub(super) cutoff: Lsn,
    /// The newest LSN.
    pub(super) last: Lsn,
    /// Merges are quick at present: what they make is of use where there are many small runs.
    pub(super) hurries: bool,
}

impl Policy {
    /// The runs to merge, adjacent ones. `runs` are all, newest first.
    pub(super) fn choose(&self, runs: &[RunSize]) -> Option<Vec<RunId>> {
        let (deltas, base) = match runs {
            [deltas @ .., base] if self.has_base => (deltas, Some(base)),
            _ => (runs, None),
        };
        let chosen = base
            .and_then(|base| self.garbage(deltas, base, runs))
            .or_else(|| self.tier(deltas))
            .or_else(|| self.too_many(deltas))
            .or_else(|| self.makeshift(deltas))?;
        Some(chosen.iter().map(|run| run.id).collect())
    }

    /// The runs below the cutoff with the base, once there are enough of them.
    fn garbage<'a>(
        &self,
        deltas: &[RunSize],
        base: &RunSize,
        runs: &'a [RunSize],
    ) -> Option<&'a [RunSize]> {
        let first = deltas.partition_point(|run| run.max_lsn > self.cutoff);
        let below: u64 = deltas[first..].iter().map(|run| run.bytes).sum();
        let enough = (base.bytes / GARBAGE_PART).max(self.small);
        (first < deltas.len() && below >= enough).then(|| &runs[first..])
    }

    /// The newest runs up to one size, if there are many of that: the more there are, the less often each is merged. In
    /// a hurry only when there are twice as many, and only so many that it is soon over.
    fn tier<'a>(&self, deltas: &'a [RunSize]) -> Option<&'a [RunSize]> {
        let most = deltas.iter().map(|run| self.class(run)).max()?;
        (0..=most).find_map(|class| {
            let tier = self.upto(deltas, class);
            let count = tier.iter().filter(|run| self.class(run) == class).count();
            let (least, most) = match (self.hurries, class) {
                (false, _) => (self.merge_runs, usize::MAX),
                (true, 0) => (self.merge_runs * 2, self.merge_runs * 4),
                (true, _) => (self.merge_runs * 2, self.merge_runs * 2),
            };
            let oldest = &tier[tier.len().saturating_sub(most)..];
            if count < least {
                None
            } else if self.fits(oldest) {
                Some(oldest)
            } else {
                let mut groups = tier.windows(self.merge_runs);
                groups.rfind(|group| self.fits(group))
            }
        })
    }

    /// The cheapest merge, if runs got so many in spite of all.
    fn too_many<'a>(&self, deltas: &'a [RunSize]) -> Option<&'a [RunSize]> {
        if deltas.len() < self.merge_runs * 4 {
            return None;
        }
        let bytes = |group: &&[RunSize]| group.iter().map(|run| run.bytes).sum::<u64>();
        deltas.windows(self.merge_runs).min_by_key(bytes)
    }

    /// What quick merges made, once there is time: it becomes one with all of its size, as it is to stay. Small ones wait
    /// for others.
    fn makeshift<'a>(&self, deltas: &'a [RunSize]) -> Option<&'a [RunSize]> {
        let is_due = |run: &RunSize| run.is_makeshift && self.class(run) > 0;
        if self.hurries {
            return None;
        }
        let first = deltas.iter().position(is_due)?;
        let tier = self.upto(deltas, self.class(&deltas[first]));
        match tier.len() > first && self.fits(tier) {
            true => Some(tier),
            false => Some(&deltas[first..=first]),
        }
    }

    /// The newest runs, as far as none is of a larger class.
    fn upto<'a>(&self, deltas: &'a [RunSize], class: u32) -> &'a [RunSize] {
        let larger = deltas.iter().position(|run| self.class(run) > class);
        &deltas[..larger.unwrap_or(deltas.len())]
    }

    /// Whether a run made of these is not too long for the window.
    fn fits(&self, group: &[RunSize]) -> bool {
        let (Some(newest), Some(oldest)) = (group.first(), group.last()) else {
            return false;
        };
        let window = self.last.saturating_sub(self.cutoff);
        self.cutoff == Lsn::INVALID
            || newest.max_lsn <= self.cutoff
            || newest.max_lsn.saturating_sub(oldest.min_lsn) <= window / WINDOW_PART
    }

    fn class(&self, run: &RunSize) -> u32 {
        let ratio = (run.bytes / self.small.max(1)).max(1);
        ratio.ilog(self.merge_runs.max(2) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy {
        merge_runs: 3,
        small: 10,
        has_base: true,
        cutoff: Lsn::INVALID,
        last: Lsn::new(10_000),
        hurries: false,
    };

    /// Runs, newest first, from (bytes, largest LSN), each as long as to the next.
    fn runs(sizes: &[(u64, u64)]) -> Vec<RunSize> {
        let mins = sizes.iter().skip(1).map(|(_, lsn)| lsn + 8).chain([0]);
        let runs = sizes.iter().zip(mins).zip(0..);
        runs.map(|(((bytes, max), min), id)| RunSize {
            id: RunId::new(id),
            bytes: *bytes,
            min_lsn: Lsn::new(min),
            max_lsn: Lsn::new(*max),
            is_makeshift: false,
        })
        .collect()
    }

    fn ids(ids: &[u64]) -> Option<Vec<RunId>> {
        Some(ids.iter().map(|id| RunId::new(*id)).collect())
    }

    #[test]
    fn so_many_small_runs_are_merged_and_the_base_is_left_alone() {
        let few = runs(&[(5, 400), (9, 300), (1000, 100)]);
        assert_eq!(POLICY.choose(&few), None);
        let many = runs(&[(5, 400), (9, 300), (12, 200), (1000, 100)]);
        assert_eq!(POLICY.choose(&many), ids(&[0, 1, 2]));
    }

    #[test]
    fn a_larger_run_waits_until_there_are_more_of_its_size() {
        let one = runs(&[(5, 500), (60, 300), (60, 200), (1000, 100)]);
        assert_eq!(POLICY.choose(&one), None);
        let three = runs(&[(60, 500), (60, 300), (60, 200), (1000, 100)]);
        assert_eq!(POLICY.choose(&three), ids(&[0, 1, 2]));
    }

    #[test]
    fn what_lies_below_the_cutoff_is_merged_with_the_base_once_it_is_enough() {
        let policy = Policy {
            cutoff: Lsn::new(300),
            ..POLICY
        };
        let little = runs(&[(60, 500), (100, 300), (100, 200), (1000, 100)]);
        assert_eq!(policy.choose(&little), None);
        let enough = runs(&[(60, 500), (150, 300), (100, 200), (1000, 100)]);
        assert_eq!(policy.choose(&enough), ids(&[1, 2, 3]));
        let branch = Policy {
            has_base: false,
            ..policy
        };
        assert_eq!(branch.choose(&enough[..3]), None);
    }

    #[test]
    fn runs_inside_the_window_stay_short_enough_to_leave_it_one_after_the_other() {
        let policy = Policy {
            cutoff: Lsn::new(200),
            last: Lsn::new(1000),
            ..POLICY
        };
        let long = runs(&[(9, 1000), (9, 800), (9, 600), (1000, 100)]);
        assert_eq!(policy.choose(&long), None);
        let short = runs(&[(9, 1000), (9, 990), (9, 980), (9, 970), (1000, 100)]);
        assert_eq!(policy.choose(&short), ids(&[0, 1, 2]));
    }

    #[test]
    fn in_a_hurry_small_runs_are_merged_and_large_ones_wait() {
        let policy = Policy {
            hurries: true,
            ..POLICY
        };
        let large = runs(&[(5, 500), (60, 400), (60, 300), (60, 200), (1000, 100)]);
        assert_eq!(policy.choose(&large), None);
        let small = |count: u64| {
            let small = (0..count).map(|n| (5, 900 - n));
            runs(&small.chain([(60, 300), (1000, 100)]).collect::<Vec<_>>())
        };
        assert_eq!(policy.choose(&small(5)), None);
        assert_eq!(policy.choose(&small(6)), ids(&[0, 1, 2, 3, 4, 5]));
        let oldest: Vec<u64> = (3..15).collect();
        assert_eq!(policy.choose(&small(15)), ids(&oldest));
        let many: Vec<_> = (0..6).map(|n| (60, 900 - n)).chain([(1000, 100)]).collect();
        assert_eq!(policy.choose(&runs(&many)), ids(&[0, 1, 2, 3, 4, 5]));
    }

    #[test]
    fn what_was_merged_in_a_hurry_is_merged_once_more_when_there_is_time() {
        let mut some = runs(&[(5, 500), (60, 400), (60, 300), (1000, 200), (1000, 100)]);
        for number in [0, 1, 2, 4] {
            some[number].is_makeshift = true;
        }
        assert_eq!(POLICY.choose(&some), ids(&[0, 1, 2]));
        let hurried = Policy {
            hurries: true,
            ..POLICY
        };
        assert_eq!(hurried.choose(&some), None);
        // What is newer is larger.
        let mut larger = some.clone();
        (larger[0].bytes, larger[0].is_makeshift) = (1000, false);
        assert_eq!(POLICY.choose(&larger), ids(&[1]));
        // Together they would be too long for the window.
        let windowed = Policy {
            cutoff: Lsn::new(50),
            last: Lsn::new(1000),
            ..POLICY
        };
        assert_eq!(windowed.choose(&some), ids(&[1]));
    }

    #[test]
    fn however_large_runs_are_there_are_not_ever_more_of_them() {
        let sizes: Vec<(u64, u64)> = (0..13).map(|n| (10 << (2 * n), 10_000 - 100 * n)).collect();
        assert_eq!(POLICY.choose(&runs(&sizes)), ids(&[0, 1, 2]));
        assert_eq!(POLICY.choose(&runs(&sizes[..12])), None);
    }
}
