//! The options of `pageserver waldump`: those of `pg_waldump`, of all versions together.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{ArgAction, Args};
use walrecord::dump::{Filter, StatsBy};
use walrecord::{
    BlockNumber, ForkNumber, Lsn, PgTimelineId, PgVersion, RelFileLocator, RmgrId, Xid,
};

/// `pageserver waldump`
#[derive(Debug, Args)]
#[command(disable_help_flag = true, args_override_self = true)]
pub struct Waldump {
    /// The first segment file; `-` reads consecutive segments from standard input.
    pub startseg: Option<PathBuf>,
    /// The last segment file. Default: the first.
    pub endseg: Option<PathBuf>,
    /// Show images in detail, each block in a line of its own.
    #[arg(long, short = 'b')]
    pub bkp_details: bool,
    /// With --relation, only show records that refer to block N (15 and newer).
    #[arg(long, short = 'B', value_name = "N", requires = "relation")]
    pub block: Option<BlockNumber>,
    /// Stop at this LSN.
    #[arg(long, short = 'e', value_name = "LSN")]
    pub end: Option<Lsn>,
    /// At the end of the WAL, wait for more.
    #[arg(long, short = 'f')]
    pub follow: bool,
    /// Only show records that refer to a block of this fork: main, fsm, vm or init (15 and newer).
    #[arg(long, short = 'F')]
    pub fork: Option<ForkNumber>,
    /// Only show records with a page image (15 and newer).
    #[arg(long, short = 'w')]
    pub fullpage: bool,
    /// Stop behind this many records.
    #[arg(long, short = 'n', value_name = "N", allow_negative_numbers = true)]
    pub limit: Option<i64>,
    /// The directory with the segment files, or one with a pg_wal that has them. Default: the current
    /// directory, its pg_wal, $PGDATA/pg_wal.
    #[arg(long, short = 'p', value_name = "DIR")]
    pub path: Option<PathBuf>,
    /// Show nothing but errors.
    #[arg(long, short = 'q')]
    pub quiet: bool,
    /// Only show records of this resource manager; can be given several times. `list` lists them.
    #[arg(long, short = 'r', value_name = "NAME", value_parser = rmgr)]
    pub rmgr: Vec<RmgrChoice>,
    /// Only show records that refer to a block of this relation (15 and newer).
    #[arg(long, short = 'R', value_name = "SPC/DB/REL", value_parser = relation)]
    pub relation: Option<RelFileLocator>,
    /// Start at this LSN.
    #[arg(long, short = 's', value_name = "LSN")]
    pub start: Option<Lsn>,
    /// The Postgres timeline to read. Default: the first segment's, or 1.
    #[arg(long, short = 't', value_name = "TLI", value_parser = timeline)]
    pub timeline: Option<PgTimelineId>,
    /// Only show records of this transaction.
    #[arg(long, short = 'x')]
    pub xid: Option<Xid>,
    /// Show statistics instead of records: by resource manager (`rmgr`) or by kind of record (`record`).
    #[arg(long, short = 'z', value_name = "BY", num_args = 0..=1, require_equals = true,
          default_missing_value = "rmgr", value_parser = stats_by)]
    pub stats: Option<StatsBy>,
    /// Save page images to this directory, which must not exist, or be empty (16 and newer).
    #[arg(long, value_name = "DIR")]
    pub save_fullpage: Option<PathBuf>,
    /// Show this help.
    #[arg(long, short = '?', visible_short_alias = 'h', action = ArgAction::Help)]
    help: Option<bool>,
}

/// What `--rmgr` can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RmgrChoice {
    /// The names of all.
    List,
    /// Records of one.
    One(RmgrId),
}

impl Waldump {
    /// Which records to show.
    ///
    /// # Errors
    /// If an option is used that `pg_waldump` of the WAL's version does not have.
    pub(super) fn filter(&self, version: PgVersion) -> Result<Filter> {
        let newer = [
            (self.block.is_some(), "--block", PgVersion::V15),
            (self.fork.is_some(), "--fork", PgVersion::V15),
            (self.fullpage, "--fullpage", PgVersion::V15),
            (self.relation.is_some(), "--relation", PgVersion::V15),
            (
                self.save_fullpage.is_some(),
                "--save-fullpage",
                PgVersion::V16,
            ),
        ];
        for (_, option, since) in newer.into_iter().filter(|(used, ..)| *used) {
            if version < since {
                bail!(
                    "{option} is an option of pg_waldump {since} and newer, and this is WAL of \
                     PostgreSQL {version}"
                );
            }
        }
        let mut rmgrs = self.rmgr.iter().filter_map(|choice| match choice {
            RmgrChoice::One(id) => Some(*id),
            RmgrChoice::List => None,
        });
        Ok(Filter {
            // In 14 the last one counts.
            rmgrs: match version {
                PgVersion::V14 => rmgrs.next_back().into_iter().collect(),
                _ => rmgrs.collect(),
            },
            xid: self.xid,
            rel: self.relation,
            block: self.block,
            fork: self.fork,
            with_image: self.fullpage,
        })
    }
}

fn rmgr(text: &str) -> Result<RmgrChoice, String> {
    if text.eq_ignore_ascii_case("list") {
        return Ok(RmgrChoice::List);
    }
    let id = text.parse().map_err(|error| format!("{error}"))?;
    Ok(RmgrChoice::One(id))
}

fn relation(text: &str) -> Result<RelFileLocator, String> {
    let rel: RelFileLocator = text.parse().map_err(|error| format!("{error}"))?;
    match rel.spc != 0 && rel.rel != 0 {
        true => Ok(rel),
        false => Err("neither tablespace nor relation can be 0".to_owned()),
    }
}

fn stats_by(text: &str) -> Result<StatsBy, String> {
    match text {
        "rmgr" => Ok(StatsBy::Rmgr),
        "record" => Ok(StatsBy::Record),
        _ => Err("expected rmgr or record".to_owned()),
    }
}

/// Reads a timeline in decimal, or in hexadecimal behind 0x, as segment names have it.
fn timeline(text: &str) -> Result<PgTimelineId, String> {
    let text = text.trim();
    let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    match number {
        Ok(timeline @ 1..) => Ok(timeline),
        _ => {
            Err("expected a number from 1 to 4294967295, decimal or 0x and hexadecimal".to_owned())
        }
    }
}
