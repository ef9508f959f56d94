//! Moments as people write them, and as Postgres counts them.

use std::fmt;
use std::str::FromStr;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use walrecord::PgTime;

/// Seconds from 1970-01-01 to 2000-01-01, where Postgres begins to count.
const POSTGRES_EPOCH: i64 = 946_684_800;

/// A moment: `2026-11-22 14:03:00+00`, with or without fraction and offset (none means UTC), or RFC 3339.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment(PgTime);

impl Moment {
    /// The moment that Postgres counts so.
    pub const fn new(time: PgTime) -> Moment {
        Moment(time)
    }

    /// Microseconds since 2000-01-01 00:00:00 UTC.
    pub const fn get(self) -> PgTime {
        self.0
    }

    /// As RFC 3339 has it, in UTC, to the millisecond (below which nothing is rounded up).
    pub fn rfc3339(self) -> String {
        match self.timestamp() {
            Some(moment) => format!("{}Z", moment.strftime("%Y-%m-%dT%H:%M:%S%.3f")),
            None => self.to_string(),
        }
    }

    /// Milliseconds since 1970-01-01 00:00:00 UTC; zero before.
    pub fn unix_millis(self) -> u64 {
        let unix = self.0.saturating_add(POSTGRES_EPOCH * 1_000_000);
        u64::try_from(unix / 1000).unwrap_or(0)
    }

    fn timestamp(self) -> Option<Timestamp> {
        let unix = self.0.checked_add(POSTGRES_EPOCH * 1_000_000)?;
        Timestamp::from_microsecond(unix).ok()
    }
}

/// A text that is no moment.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "{text:?} is no time; expected one like '2026-11-22 14:03:00+00' or 2026-11-22T14:03:00Z (without an offset it is UTC)"
)]
pub struct MomentError {
    text: String,
}

impl FromStr for Moment {
    type Err = MomentError;

    fn from_str(text: &str) -> Result<Moment, MomentError> {
        let error = || MomentError {
            text: text.chars().take(64).collect(),
        };
        let trimmed = text.trim();
        // What `timestamptz` looks like in the time zone UTC, too.
        let trimmed = trimmed.strip_suffix(" UTC").unwrap_or(trimmed);
        let timestamp = match trimmed.parse::<Timestamp>() {
            Ok(timestamp) => timestamp,
            Err(_) => {
                let local: DateTime = trimmed.parse().map_err(|_| error())?;
                let zoned = local.to_zoned(TimeZone::UTC);
                zoned.map_err(|_| error())?.timestamp()
            }
        };
        let since = timestamp.duration_since(Timestamp::UNIX_EPOCH);
        let since = since - SignedDuration::from_secs(POSTGRES_EPOCH);
        // To the nearest microsecond, as Postgres reads times.
        let micros = (since.as_nanos() + 500).div_euclid(1000);
        PgTime::try_from(micros).map(Moment).map_err(|_| error())
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.timestamp() {
            Some(moment) => write!(f, "{}+00", moment.strftime("%Y-%m-%d %H:%M:%S%.6f")),
            // A clock that was far off; Postgres itself goes on to the year 294276.
            None => write!(f, "{} microseconds after 2000-01-01 00:00:00+00", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_moment_is_read_however_it_is_written() {
        let moment = Moment(848_671_380_000_000);
        for text in [
            "2026-11-22 14:03:00+00",
            "2026-11-22 14:03:00",
            "2026-11-22 14:03",
            "2026-11-22T14:03:00Z",
            "2026-11-22T14:03:00.000000Z",
            "2026-11-22 16:03:00+02",
            "2026-11-22 16:03:00.0+02:00",
            "2026-11-22 10:33:00-0330",
            " 2026-11-22 14:03:00 UTC ",
            "2026-11-22 14:03:00.0000004+00",
        ] {
            assert_eq!(text.parse(), Ok(moment), "{text}");
        }
        assert_eq!(
            "2026-11-22 14:03:00.123456+00".parse(),
            Ok(Moment(moment.0 + 123_456))
        );
        assert_eq!(
            "1999-12-31 23:59:59.5+00".parse(),
            Ok(Moment(-500_000)),
            "before Postgres begins to count"
        );
    }

    #[test]
    fn what_is_printed_is_read_again() {
        for time in [0, -1, 848_671_380_123_456] {
            let text = Moment(time).to_string();
            assert_eq!(text.parse(), Ok(Moment(time)), "{text}");
        }
        assert_eq!(
            Moment(848_671_380_123_456).to_string(),
            "2026-11-22 14:03:00.123456+00"
        );
        assert!(Moment(PgTime::MAX).to_string().contains("microseconds"));
        let moment = Moment(848_671_380_123_999);
        assert_eq!(moment.rfc3339(), "2026-11-22T14:03:00.123Z");
        assert_eq!(moment.unix_millis(), 1_795_356_180_123);
        assert_eq!(Moment(PgTime::MIN).unix_millis(), 0);
    }

    #[test]
    fn what_is_no_time_is_refused_and_shown() {
        for bad in [
            "",
            "now",
            "2026-13-01",
            "14:03",
            "2026-11-22 25:00",
            "0/3000060",
        ] {
            let error = bad.parse::<Moment>().unwrap_err();
            assert!(error.to_string().contains(&format!("{bad:?}")), "{bad}");
        }
    }
}
