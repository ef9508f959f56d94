//! The command line: what can be asked of `pageserver`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use walreceiver::{ConnInfo, SlotName};
use walrecord::{BlockNumber, BlockTag, ForkNumber, Lsn, RelFileLocator};

use crate::moment::Moment;
use crate::waldump::Waldump;

/// A page server for stock PostgreSQL: every version of every page, at any LSN.
#[derive(Debug, Parser)]
#[command(name = "pageserver", version, propagate_version = true)]
pub struct Cli {
    /// How log lines look.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Auto)]
    pub log_format: LogFormat,
    /// Log details, too.
    #[arg(long, short, global = true)]
    pub verbose: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text, coloured on a terminal.
    Auto,
    /// Plain text.
    Text,
    /// One JSON object a line.
    Json,
}

/// What kind of server sends the WAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PeerKind {
    /// Stock PostgreSQL, a primary or a standby.
    Postgres,
    /// A WAL safekeeper that serves plain physical replication. It has no slots and gives no base backup:
    /// import one first. `options` in the connection string say which tenant and timeline.
    Safekeeper,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the whole product in a minute or two, alone, with a throw-away PostgreSQL.
    Demo(Demo),
    /// Run the daemon: import and follow a primary, serve pages.
    Run(Box<Run>),
    /// Make a timeline from a base backup on disk.
    Import(Import),
    /// Show the timelines of a running server.
    Status(Status),
    /// Look at single pages.
    Page {
        /// What about them.
        #[command(subcommand)]
        command: Page,
    },
    /// Show the LSN that recovery to a time would stop at.
    Lsn(LsnOfTime),
    /// Show the time of an LSN: that of the last commit or abort at or below it.
    Time(TimeOfLsn),
    /// Write everything into layer files now.
    Checkpoint(Checkpoint),
    /// Merge layer files now, and free what garbage collection has given up.
    Compact(Compact),
    /// Move the window in which every LSN is readable on, and remove the WAL below it.
    Gc(Gc),
    /// List, branch and delete timelines.
    Timeline {
        /// What about them.
        #[command(subcommand)]
        command: Timelines,
    },
    /// Read everything that is stored, rebuild every page, and say what is wrong and where.
    Verify(Verify),
    /// Write a data directory at an LSN or a time, which stock PostgreSQL starts from at once.
    Checkout(Checkout),
    /// Show WAL as pg_waldump of its version does.
    Waldump(Box<Waldump>),
    /// Replay WAL that carries the expected version of each page, and compare.
    Walverify(WalVerify),
}

/// `pageserver demo`
#[derive(Debug, Args)]
pub struct Demo {
    /// Keep the demo's directory and say where it is.
    #[arg(long)]
    pub keep: bool,
    /// Take PostgreSQL from here (the directory with `postgres` and `initdb`) instead of finding or
    /// fetching it.
    #[arg(long, value_name = "DIR")]
    pub pg_bin: Option<PathBuf>,
}

/// `pageserver run`
#[derive(Debug, Args)]
pub struct Run {
    /// Where everything is kept.
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// The primary, as libpq takes it: keywords or a postgres:// URL. With an empty data directory it
    /// is imported first.
    #[arg(long, value_name = "CONNINFO")]
    pub primary: Option<ConnInfo>,
    /// What kind of server `--primary` is.
    #[arg(long, value_enum, default_value_t = PeerKind::Postgres)]
    pub peer: PeerKind,
    /// Settings in TOML; `docs/operations.md` lists them.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Keep every LSN readable in this much WAL below the end, in MiB (`history_mb` of the settings). With
    /// `--history-time` an LSN stays if either wants it; with neither everything stays.
    #[arg(long, value_name = "MIB")]
    pub history_mb: Option<u64>,
    /// Keep every LSN readable of this long before now: `12h`, `7d` (`history_time_s` of the settings).
    #[arg(long, value_name = "PERIOD", value_parser = duration)]
    pub history_time: Option<Duration>,
    /// Where the page stream is served.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5430")]
    pub listen_pg: SocketAddr,
    /// Where HTTP is served.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9898")]
    pub listen_http: SocketAddr,
    /// Serve addresses that are not this machine's own, without authentication.
    #[arg(long)]
    pub allow_unauthenticated_network: bool,
    /// The replication slot; made at import. Default: `zenith_` and the timeline's name.
    #[arg(long, value_name = "NAME")]
    pub slot: Option<SlotName>,
    /// The name of the timeline that is imported or followed.
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub timeline: String,
    /// Rebuild a random page at a random LSN this often, in two ways, and compare: `5s`, `1m`.
    #[arg(long, value_name = "PERIOD", value_parser = duration)]
    pub self_test_interval: Option<Duration>,
    /// Keep a copy of the import's base backup, as tars, in this directory.
    #[arg(long, value_name = "DIR")]
    pub tee_backup: Option<PathBuf>,
}

/// `pageserver import`
#[derive(Debug, Args)]
pub struct Import {
    /// The backup: a data directory, or a directory with the tars of `pg_basebackup -Ft`.
    pub backup: PathBuf,
    /// Where everything is kept.
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// The new timeline's name.
    #[arg(long, default_value = "main")]
    pub name: String,
    /// Where the backup's WAL and all that follows is: an archive, or `pg_wal`. Default: in the backup.
    #[arg(long, value_name = "WALDIR")]
    pub wal_dir: Option<PathBuf>,
    /// The minor release of the server that wrote the WAL, the 18 of 15.18. Default: the newest. It
    /// decides details of redo.
    #[arg(long)]
    pub minor: Option<u16>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Which server to ask.
#[derive(Debug, Args)]
pub struct Server {
    /// The running server.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9898")]
    pub server: String,
    /// Open this data directory instead; no server may be running on it.
    #[arg(long, value_name = "DIR", conflicts_with = "server")]
    pub data_dir: Option<PathBuf>,
}

/// Which server to ask, and how its answer is printed.
#[derive(Debug, Args)]
pub struct Ask {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Which server to ask.
    #[command(flatten)]
    pub server: Server,
}

/// A timeline, the server that has it, and how the answer is printed.
#[derive(Debug, Args)]
pub struct AskTimeline {
    /// The timeline, by name or id.
    #[arg(long, default_value = "main")]
    pub timeline: String,
    /// Of whom, and how.
    #[command(flatten)]
    pub ask: Ask,
}

/// `pageserver status`
#[derive(Debug, Args)]
pub struct Status {
    /// Of whom, and how.
    #[command(flatten)]
    pub ask: Ask,
}

/// `pageserver page`
#[derive(Debug, Subcommand)]
pub enum Page {
    /// Print one page, or write its 8192 bytes.
    Get(PageGet),
    /// List every version of a page, newest first.
    History(PageHistory),
}

/// One block of a relation.
#[derive(Args, Clone, Copy, Debug)]
pub struct Block {
    /// The relation: SPC/DB/REL, or the path that `pg_relation_filepath` shows.
    #[arg(long, value_name = "RELATION")]
    pub rel: RelFileLocator,
    /// The fork: main, fsm, vm or init.
    #[arg(long, default_value = "main")]
    pub fork: ForkNumber,
    /// The block.
    #[arg(long)]
    pub block: BlockNumber,
}

impl Block {
    /// As the store names it.
    pub fn tag(&self) -> BlockTag {
        BlockTag {
            rel: self.rel,
            fork: self.fork,
            block: self.block,
        }
    }
}

/// An LSN, or a time that means one.
#[derive(Args, Clone, Copy, Debug)]
pub struct At {
    /// The LSN; the newest if neither it nor a time is given.
    #[arg(long)]
    pub lsn: Option<Lsn>,
    /// The LSN that `recovery_target_time` would stop at: '2026-11-22 14:03:00+00', with or without fraction and
    /// offset, or RFC 3339. Without an offset it is UTC.
    #[arg(long, conflicts_with = "lsn")]
    pub time: Option<Moment>,
}

/// `pageserver lsn`
#[derive(Debug, Args)]
pub struct LsnOfTime {
    /// The time: '2026-11-22 14:03:00+00', with or without fraction and offset, or RFC 3339. Without an offset
    /// it is UTC.
    #[arg(long)]
    pub time: Moment,
    /// Of what.
    #[command(flatten)]
    pub of: AskTimeline,
}

/// `pageserver time`
#[derive(Debug, Args)]
pub struct TimeOfLsn {
    /// The LSN; the newest if it is not given.
    #[arg(long)]
    pub lsn: Option<Lsn>,
    /// Of what.
    #[command(flatten)]
    pub of: AskTimeline,
}

/// `pageserver checkpoint`
#[derive(Debug, Args)]
pub struct Checkpoint {
    /// Of what.
    #[command(flatten)]
    pub of: AskTimeline,
}

/// `pageserver compact`
#[derive(Debug, Args)]
pub struct Compact {
    /// Merge all layers into one sorted run, rather than what the background work would merge by now.
    #[arg(long)]
    pub full: bool,
    /// Of what.
    #[command(flatten)]
    pub of: AskTimeline,
}

/// `pageserver gc`
#[derive(Debug, Args)]
pub struct Gc {
    /// Give up everything below this LSN, as far as it is in layer files, whatever the settings say. Branches keep
    /// what they rest on, leases what they hold.
    #[arg(long, value_name = "LSN")]
    pub below: Option<Lsn>,
    /// Of what.
    #[command(flatten)]
    pub of: AskTimeline,
}

/// `pageserver timeline`
#[derive(Debug, Subcommand)]
pub enum Timelines {
    /// Show the timelines.
    List(TimelineList),
    /// Make a timeline that has all that another has up to an LSN or a time, at no cost in space.
    Branch(TimelineBranch),
    /// Let a branch take WAL from a primary of its own: a clone that was checked out at the branch point and
    /// started.
    Follow(TimelineFollow),
    /// Let a timeline follow no primary any more. The replication slot on the primary stays: drop it there.
    Unfollow(TimelineName),
    /// Remove a timeline and all that only it has. Refused while others branch from it.
    Delete(TimelineName),
    /// Hold an LSN for a time: it stays readable, also when the window moves past it. Again: longer.
    Lease(TimelineLease),
}

/// `pageserver timeline list`
#[derive(Debug, Args)]
pub struct TimelineList {
    /// Of whom, and how.
    #[command(flatten)]
    pub ask: Ask,
}

/// `pageserver timeline branch`
#[derive(Debug, Args)]
pub struct TimelineBranch {
    /// The new timeline's name: letters, digits and `._-`.
    pub name: String,
    /// The timeline to branch from, by name or id.
    #[arg(long, value_name = "TIMELINE", default_value = "main")]
    pub from: String,
    /// Where.
    #[command(flatten)]
    pub at: At,
    /// Of whom, and how.
    #[command(flatten)]
    pub ask: Ask,
}

/// `pageserver timeline follow`
#[derive(Debug, Args)]
pub struct TimelineFollow {
    /// The timeline, by name or id.
    pub name: String,
    /// The primary, as libpq takes it: keywords or a postgres:// URL. It is kept without a password: from the next
    /// start on that comes from PGPASSWORD or the password file of whoever runs the server.
    #[arg(long, value_name = "CONNINFO")]
    pub primary: String,
    /// The replication slot there, made if it is missing. Default: `zenith_` and the timeline's name.
    #[arg(long, value_name = "NAME")]
    pub slot: Option<SlotName>,
    /// Of whom, and how.
    #[command(flatten)]
    pub ask: Ask,
}

/// `pageserver timeline unfollow` and `delete`
#[derive(Debug, Args)]
pub struct TimelineName {
    /// The timeline, by name or id.
    pub name: String,
    /// Of whom, and how.
    #[command(flatten)]
    pub ask: Ask,
}

/// `pageserver timeline lease`
#[derive(Debug, Args)]
pub struct TimelineLease {
    /// The timeline, by name or id.
    pub name: String,
    /// The LSN.
    #[arg(long)]
    pub lsn: Lsn,
    /// For how long from now on, 7 days at most.
    #[arg(long = "for", value_name = "PERIOD", value_parser = duration, default_value = "10m")]
    pub length: Duration,
    /// Of whom, and how.
    #[command(flatten)]
    pub ask: Ask,
}

/// `pageserver verify`
#[derive(Debug, Args)]
pub struct Verify {
    /// At which LSN pages are rebuilt.
    #[command(flatten)]
    pub at: At,
    /// Of what.
    #[command(flatten)]
    pub of: AskTimeline,
}

/// `pageserver page history`
#[derive(Debug, Args)]
pub struct PageHistory {
    /// Of which page.
    #[command(flatten)]
    pub page: Block,
    /// Leave out versions above this.
    #[command(flatten)]
    pub at: At,
    /// About how many versions to list; all if it is not given.
    #[arg(long, value_name = "VERSIONS", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// Of what. JSON is an array of objects, one a line.
    #[command(flatten)]
    pub of: AskTimeline,
}

/// `pageserver page get`
#[derive(Debug, Args)]
pub struct PageGet {
    /// Which.
    #[command(flatten)]
    pub page: Block,
    /// The timeline, by name or id.
    #[arg(long, default_value = "main")]
    pub timeline: String,
    /// When.
    #[command(flatten)]
    pub at: At,
    /// Write the raw page to this file; `-` is standard output.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Which server to ask.
    #[command(flatten)]
    pub server: Server,
}

/// `pageserver checkout`
#[derive(Debug, Args)]
pub struct Checkout {
    /// The new data directory. It must not exist, or be empty.
    pub dir: PathBuf,
    /// When.
    #[command(flatten)]
    pub at: At,
    /// Keep preloaded libraries of the primary's configuration.
    #[arg(long)]
    pub keep_config: bool,
    /// Put a tablespace somewhere else than inside the directory.
    #[arg(long, value_name = "OLD=NEW")]
    pub tablespace_mapping: Vec<String>,
    /// The port that the clone listens on.
    #[arg(long)]
    pub port: Option<u16>,
    /// Of what.
    #[command(flatten)]
    pub of: AskTimeline,
}

/// `pageserver walverify`
#[derive(Debug, Args)]
pub struct WalVerify {
    /// A directory of WAL segment files (`pg_wal`, an archive) written with `wal_consistency_checking = all`,
    /// best with `full_page_writes = off`. Or a report that an earlier run printed with `--json`.
    #[arg(value_name = "DIR", required = true)]
    pub paths: Vec<PathBuf>,
    /// The minor release of the server that wrote the WAL, the 18 of 15.18. Default: the newest. It
    /// decides details of redo.
    #[arg(long)]
    pub minor: Option<u16>,
    /// The server logged no hint bits: neither data checksums nor `wal_log_hints` were on.
    #[arg(long)]
    pub no_hint_bits: bool,
    /// Apply each record to the version expected before it, not to the page that redo made.
    #[arg(long)]
    pub reseed: bool,
    /// Pages are verified by this many threads, each a share of them. Default: a thread a core, 8 at most.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub jobs: Option<u32>,
    /// Memory for pages, megabytes; every page that the WAL touches takes 8 KiB of it. Those not touched for
    /// longest are forgotten first, and begin anew.
    #[arg(long, value_name = "MB", default_value_t = 4096)]
    pub memory_mb: u32,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Print which records of which version were verified, as a Markdown table.
    #[arg(long, conflicts_with = "json")]
    pub coverage_markdown: bool,
}

/// Reads `250ms`, `5s`, `2m`, `1h`, `7d`.
fn duration(text: &str) -> Result<Duration, String> {
    let error =
        || format!("{text:?} is not a period; expected a number and ms, s, m, h or d, as in 5s");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| error())?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        "d" => number.checked_mul(86_400_000),
        _ => None,
    };
    match milliseconds {
        Some(0) | None => Err(error()),
        Some(milliseconds) => Ok(Duration::from_millis(milliseconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn periods_have_units() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(7 * 86_400)));
        for bad in ["", "5", "0s", "5w", "s", "99999999999999999999h"] {
            assert!(duration(bad).unwrap_err().contains(bad));
        }
    }
}
