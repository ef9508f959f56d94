//! Times as `pg_waldump` prints them (`timestamptz_to_str`, bin/pg_waldump/compat.c). The time zone is
//! handed in: what a zone's rules are is a matter of the system, not of WAL.

use std::fmt::Debug;
use std::sync::Arc;

use super::Text;
use crate::types::PgTime;

/// What the clocks of a place show.
pub trait TimeZone: Debug + Send + Sync {
    /// Tells `show`, once, how they stand at a moment: seconds since 1970-01-01 00:00:00 UTC.
    fn at(&self, unix_seconds: i64, show: &mut dyn FnMut(LocalTime<'_>));
}

/// How the clocks of a place stand against UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime<'a> {
    /// Seconds that they are ahead.
    pub ahead: i32,
    /// What that time is called there: `CET`, `-03`.
    pub name: &'a str,
}

impl LocalTime<'_> {
    /// Universal time.
    pub const UTC: LocalTime<'static> = LocalTime {
        ahead: 0,
        name: "UTC",
    };
}

/// Seconds from 1970-01-01 to 2000-01-01.
const POSTGRES_EPOCH: i64 = 946_684_800;
const MICROS: i64 = 1_000_000;
const DAY: i64 = 86_400;

/// Shows times, and keeps what it showed last: a commit is seldom alone in its second.
#[derive(Clone, Debug, Default)]
pub(super) struct Clock {
    zone: Option<Arc<dyn TimeZone>>,
    shown: Shown,
}

/// A second since 1970 as text. At first, a text of nothing for no second that a time can have.
#[derive(Clone, Debug)]
struct Shown {
    unix: i64,
    /// Date and time.
    text: Vec<u8>,
    /// What the time zone is called then.
    zone: Vec<u8>,
}

impl Default for Shown {
    fn default() -> Shown {
        Shown {
            unix: i64::MAX,
            text: Vec::new(),
            zone: Vec::new(),
        }
    }
}

impl Clock {
    pub(super) fn in_zone(zone: Arc<dyn TimeZone>) -> Clock {
        Clock {
            zone: Some(zone),
            shown: Shown::default(),
        }
    }

    /// Appends a time; in UTC if there is no zone.
    pub(super) fn write(&mut self, at: PgTime, out: &mut Text) {
        // C's division, as there: towards zero, so that micros before 2000 carry a sign.
        let unix = at / MICROS + POSTGRES_EPOCH;
        let micros = (at % MICROS) as i32;
        if unix != self.shown.unix {
            let shown = &mut self.shown;
            match &self.zone {
                Some(zone) => zone.at(unix, &mut |local| shown.show(unix, local)),
                None => shown.show(unix, LocalTime::UTC),
            }
        }
        out.raw(&self.shown.text).byte(b'.');
        match micros {
            0.. => out.dec_zeros(micros.unsigned_abs(), 6),
            _ => out.byte(b'-').dec_zeros(micros.unsigned_abs(), 5),
        };
        out.byte(b' ').raw(&self.shown.zone);
    }
}

impl Shown {
    fn show(&mut self, unix: i64, local: LocalTime<'_>) {
        let shown = unix + i64::from(local.ahead);
        let date = Date::of_day(shown.div_euclid(DAY));
        let second = shown.rem_euclid(DAY);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let Date { year, month, day } = date;
        self.unix = unix;
        self.text = format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}").into();
        self.zone = local.name.into();
    }
}

/// A day of the Gregorian calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Date {
    year: i64,
    month: u32,
    day: u32,
}

impl Date {
    /// The day that is this many days after 1970-01-01. Years are counted from March, so that a leap
    /// day is the last of its year, and in eras of 400, which all have the same days.
    const fn of_day(day: i64) -> Date {
        const ERA: i64 = 146_097;
        /// Days from 0000-03-01 to 1970-01-01.
        const FROM_MARCH_0: i64 = 719_468;
        let day = day + FROM_MARCH_0;
        let (era, in_era) = (day.div_euclid(ERA), day.rem_euclid(ERA));
        let year = (in_era - in_era / 1_460 + in_era / 36_524 - in_era / 146_096) / 365;
        let in_year = in_era - (365 * year + year / 4 - year / 100);
        // March to July and August to December have 153 days each.
        let month = (5 * in_year + 2) / 153;
        let day = in_year - (153 * month + 2) / 5 + 1;
        let (month, next_year) = match month < 10 {
            true => (month + 3, 0),
            false => (month - 9, 1),
        };
        Date {
            year: era * 400 + year + next_year,
            month: month as u32,
            day: day as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Kathmandu;

    impl TimeZone for Kathmandu {
        fn at(&self, _unix_seconds: i64, show: &mut dyn FnMut(LocalTime<'_>)) {
            show(LocalTime {
                ahead: 20_700,
                name: "+0545",
            });
        }
    }

    fn written(text: &mut Text, at: PgTime) -> String {
        text.clear();
        String::from_utf8(text.time(at).as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn times_are_those_that_date_shows() {
        // From `TZ=UTC date -d @SECONDS`.
        let text = &mut Text::new();
        for (seconds, shown) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_399, "2000-02-28 23:59:59"),
            (951_868_799, "2000-02-29 23:59:59"),
            (951_868_800, "2000-03-01 00:00:00"),
            (1_735_689_599, "2024-12-31 23:59:59"),
            (1_778_528_998, "2026-05-11 19:49:58"),
            (4_107_542_399, "2100-02-28 23:59:59"),
            (4_107_542_400, "2100-03-01 00:00:00"),
            (253_402_300_800, "10000-01-01 00:00:00"),
        ] {
            let at = (seconds - POSTGRES_EPOCH) * MICROS;
            assert_eq!(written(text, at), format!("{shown}.000000 UTC"));
        }
    }

    #[test]
    fn a_zone_shifts_the_time_and_names_itself() {
        let text = &mut Text::in_zone(Arc::new(Kathmandu));
        assert_eq!(
            written(text, 18 * 3600 * MICROS + 42),
            "2000-01-01 23:45:00.000042 +0545"
        );
        assert_eq!(
            written(text, 19 * 3600 * MICROS),
            "2000-01-02 00:45:00.000000 +0545"
        );
    }

    #[test]
    fn no_time_is_too_far_away() {
        let text = &mut Text::new();
        assert!(written(text, i64::MAX).starts_with("294277-01-09 04:00:54.775807"));
        // As there: the second is the next one, micros carry the sign, and both are in six columns.
        assert_eq!(written(text, -42), "2000-01-01 00:00:00.-00042 UTC");
        assert!(written(text, i64::MIN).starts_with("-290278-"));
    }
}
