//! The time zone that times are shown in: `TZ`, else the system's, as `pg_waldump` has it from libc's
//! `localtime`.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use walrecord::describe::{self, LocalTime};

/// The local time zone; UTC if there is none, or none of that name.
#[derive(Debug)]
pub(super) struct Local(TimeZone);

impl Local {
    pub(super) fn new() -> Local {
        Local(TimeZone::try_system().unwrap_or(TimeZone::UTC))
    }
}

impl describe::TimeZone for Local {
    fn at(&self, unix_seconds: i64, show: &mut dyn FnMut(LocalTime<'_>)) {
        // No calendar goes as far as WAL's times can.
        let Ok(at) = Timestamp::from_second(unix_seconds) else {
            return show(LocalTime::UTC);
        };
        let local = self.0.to_offset_info(at);
        show(LocalTime {
            ahead: local.offset().seconds(),
            name: local.abbreviation(),
        });
    }
}
