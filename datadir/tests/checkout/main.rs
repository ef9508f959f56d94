//! Checkouts of a stopped server, started with stock Postgres beside it.

mod source;

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyhow::{Context, Result, ensure};
use datadir::{
    CheckoutError, CheckoutOptions, CheckoutReport, SnapshotSource, checkout, tablespace_directory,
};
use source::{Altered, Asked, StoppedServer, listing};
use stockpg::{
    Cluster, Contents, InitOptions, PgInstall, Phase, Scratch, ServerAddress, StopMode, Workload,
    WorkloadOptions, amcheck,
};
use walrecord::{Lsn, PgVersion};

const TIMELINE: u32 = 0x1000_0000;

fn options() -> CheckoutOptions {
    CheckoutOptions {
        pg_timeline: TIMELINE,
        now: 1_800_000_000,
        keep_preload: false,
        tablespace_mapping: Vec::new(),
        port: Some(61_234),
        sync: false,
    }
}

/// Checks out into a directory that is given to the server's user.
fn check_out(
    source: &dyn SnapshotSource,
    dir: &Path,
    options: &CheckoutOptions,
) -> Result<CheckoutReport, CheckoutError> {
    let mut told = 0;
    let report = checkout(source, dir, options, &mut |bytes| {
        assert!(bytes >= told, "progress never goes back");
        told = bytes;
    })?;
    assert_eq!(told, report.bytes);
    Ok(report)
}

fn server(install: &PgInstall, checksums: bool, segment_mb: u32) -> Result<Cluster> {
    let mut conf: Vec<String> = Workload::CONF.map(str::to_owned).into();
    // What a clone must not take over.
    conf.push("cluster_name = 'production'".to_owned());
    conf.push("synchronous_standby_names = ''".to_owned());
    Cluster::init(
        install,
        &InitOptions {
            checksums,
            wal_segsize_mb: segment_mb,
            archive: true,
            conf,
            ..InitOptions::default()
        },
    )
}

fn run(cluster: &Cluster, phases: &[&'static str]) -> Result<()> {
    let mut workload = Workload::prepare(cluster, &WorkloadOptions::default())?;
    for name in phases {
        workload.run(Phase::named(name).context(*name)?)?;
    }
    Ok(())
}

fn tool(cluster: &Cluster, name: &str, arguments: &[&str]) -> Result<Option<String>> {
    if !cluster.install().has_tool(name) {
        return Ok(None);
    }
    let output = cluster.install().command(name).args(arguments).output()?;
    ensure!(
        output.status.success(),
        "{name}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(Some(String::from_utf8(output.stdout)?))
}

fn setting(address: &ServerAddress, name: &str) -> Result<String> {
    Ok(address
        .client("postgres")?
        .query_one(&format!("SHOW {name}"), &[])?
        .get(0))
}

/// The server replayed nothing when it started last: its log tells of a clean shutdown only.
fn assert_no_recovery(clone: &Cluster) {
    let log = clone.log_text();
    let (_, log) = log.rsplit_once("starting PostgreSQL").unwrap();
    assert!(log.contains("database system was shut down at"), "{log}");
    for phrase in ["redo", "recovery", "WARNING", "ERROR", "FATAL", "PANIC"] {
        assert!(!log.contains(phrase), "the log speaks of {phrase}:\n{log}");
    }
}

/// All that both servers have in common: a clone's unlogged tables are empty.
fn logged(mut contents: Contents) -> Contents {
    contents
        .tables
        .retain(|name, _| !name.starts_with("workload.volatile"));
    contents
}

#[test]
fn a_clone_starts_at_once_and_equals_its_source() -> Result<()> {
    let mut original = server(&PgInstall::tested()?, true, 16)?;
    run(
        &original,
        &[
            "bulk load",
            "index builds",
            "oltp",
            "toast",
            "large objects",
            "vacuum",
            "sequences and views",
            "unlogged",
            "tablespaces",
            "databases",
            "multixacts",
            "prepared transactions",
        ],
    )?;
    let before = Contents::read(original.address())?;
    assert!(before.tables["workload.volatile"].rows > 0);
    assert!(!before.prepared.is_empty());
    original.stop(StopMode::Fast)?;
    let untouched = listing(original.data_dir())?;

    let home = Scratch::new(&original.install().user(), None)?;
    let dir = home.path().join("clone");
    let source = StoppedServer::open(original.data_dir())?;
    let durable = CheckoutOptions {
        sync: true,
        ..options()
    };
    let report = check_out(&source, &dir, &durable)?;
    assert_eq!(report.prepared, before.prepared.len() as u64);
    assert!(
        report.relations > 900 && report.tablespaces >= 1,
        "{report:?}"
    );
    assert_private(&dir)?;
    assert_written(&original, &dir, source.lsn())?;

    let mut clone = Cluster::open(original.install(), &dir, &["autovacuum=off"])?;
    assert_no_recovery(&clone);
    let map_tools = ["pg_freespacemap", "pageinspect"];
    if map_tools
        .iter()
        .all(|name| original.install().has_extension(name))
    {
        // First, because reading a table prunes its pages.
        assert_free_space(clone.address())?;
    }
    assert_eq!(
        untouched,
        listing(original.data_dir())?,
        "the original changed"
    );
    original.start()?;
    let after = Contents::read(clone.address())?;
    assert_eq!(
        after.tables["workload.volatile"].rows, 0,
        "unlogged tables are empty"
    );
    logged(before.clone()).must_equal(&logged(after))?;
    assert_disarmed(&clone)?;
    amcheck(clone.address())?;
    assert_writable(&clone)?;

    clone.restart(StopMode::Fast)?;
    assert_no_recovery(&clone);
    let write = "INSERT INTO made_here (t) VALUES ('before a crash')";
    clone.client(Workload::DATABASE)?.batch_execute(write)?;
    clone.restart(StopMode::Immediate)?;
    assert!(
        clone.log_text().contains("redo done"),
        "crash recovery works, too"
    );
    assert_eq!(
        before,
        Contents::read(original.address())?,
        "the original's contents changed"
    );
    Ok(())
}

/// Nobody but the owner may look in.
fn assert_private(dir: &Path) -> Result<()> {
    for (path, _, _) in listing(dir)? {
        let meta = fs::symlink_metadata(&path)?;
        if !meta.is_symlink() {
            let expected = if meta.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(
                meta.permissions().mode() & 0o777,
                expected,
                "{}",
                path.display()
            );
        }
    }
    assert!(!dir.join("backup_label").exists());
    assert!(!dir.parent().unwrap().join("outside.conf").exists());
    Ok(())
}

/// What the tools of Postgres read in the directory.
fn assert_written(original: &Cluster, dir: &Path, lsn: Lsn) -> Result<()> {
    original.install().user().own(dir)?;
    let data = dir.to_str().unwrap();
    if let Some(control) = tool(original, "pg_controldata", &["-D", data])? {
        for (name, value) in [
            ("Database cluster state", "shut down"),
            ("Latest checkpoint's TimeLineID", "268435456"),
            ("Latest checkpoint's oldestActiveXID", "0"),
            ("Minimum recovery ending location", "0/0"),
            ("Data page checksum version", "1"),
            ("max_prepared_xacts setting", "64"),
            ("track_commit_timestamp setting", "on"),
        ] {
            let line = control.lines().find(|line| line.starts_with(name));
            let found = line
                .and_then(|line| line.split_once(':'))
                .map(|(_, v)| v.trim());
            assert_eq!(found, Some(value), "{name}");
        }
    }
    let size = 16 << 20;
    let segment = walrecord::SegmentId::of(TIMELINE, lsn, size).file_name(size);
    let path = format!("{data}/pg_wal/{segment}");
    let from = lsn.to_string();
    let arguments = ["-s", &from, "-n", "1", &path];
    if let Some(dump) = tool(original, "pg_waldump", &arguments)? {
        assert!(dump.contains("CHECKPOINT_SHUTDOWN"), "{dump}");
        assert!(dump.contains("tli 268435456; prev tli 268435456"), "{dump}");
    }
    if let Some(command) = tool(original, "postgres", &["-D", data, "-C", "port"])? {
        assert_eq!(command.trim(), "61234");
    }
    Ok(())
}

/// The settings of the running clone.
fn assert_disarmed(clone: &Cluster) -> Result<()> {
    for (name, value) in [
        ("archive_mode", "off"),
        ("archive_command", "(disabled)"),
        ("cluster_name", ""),
        ("primary_conninfo", ""),
        ("max_logical_replication_workers", "0"),
        ("listen_addresses", "127.0.0.1"),
        ("ssl", "off"),
        ("wal_level", "replica"),
        ("max_prepared_transactions", "64"),
        ("data_checksums", "on"),
    ] {
        let found = setting(clone.address(), name)?;
        match name {
            "cluster_name" => assert!(found.starts_with("checkout at "), "{found}"),
            _ => assert_eq!(found, value, "{name}"),
        }
    }
    let hba = setting(clone.address(), "hba_file")?;
    assert_eq!(Path::new(&hba), clone.data_dir().join("pg_hba.conf"));
    let mut client = clone.client("postgres")?;
    let file: String = client
        .query_one("SELECT pg_walfile_name(pg_current_wal_lsn())", &[])?
        .get(0);
    assert!(file.starts_with("10000000"), "{file}");
    let data = clone.data_dir().to_str().unwrap();
    let outside: i64 = client
        .query_one(
            "SELECT count(*) FROM pg_tablespace
             WHERE pg_tablespace_location(oid) LIKE '/%' AND pg_tablespace_location(oid) NOT LIKE $1 || '%'",
            &[&data],
        )?
        .get(0);
    assert_eq!(outside, 0, "a tablespace lies outside");
    Ok(())
}

/// Every entry of every free space map of a table is what the page says.
fn assert_free_space(address: &ServerAddress) -> Result<()> {
    let mut client = address.client(Workload::DATABASE)?;
    client.batch_execute("CREATE EXTENSION pg_freespacemap; CREATE EXTENSION pageinspect")?;
    let mut checked = 0;
    let tables = "SELECT oid::regclass::text FROM pg_class
                  WHERE relkind IN ('r', 't', 'm') AND pg_relation_size(oid, 'fsm') > 0
                    AND relnamespace <> 'pg_catalog'::regnamespace";
    for row in client.query(tables, &[])? {
        let table: String = row.get(0);
        let counts = client.query_one(
            "SELECT count(*), count(*) FILTER (WHERE avail <> CASE WHEN upper = 0 OR upper - lower - 4 >= 8160 THEN 8160
                        ELSE least(greatest(upper - lower - 4, 0) / 32 * 32, 8128) END
                        AND NOT (avail = 0 AND lower >= 24 + 291 * 4))
             FROM pg_freespace($1::text::regclass),
                  LATERAL page_header(get_raw_page($1::text, blkno::int))",
            &[&table],
        )?;
        let (pages, wrong): (i64, i64) = (counts.get(0), counts.get(1));
        assert_eq!(wrong, 0, "free space map of {table}");
        checked += pages;
    }
    assert!(checked > 50, "only {checked} pages were checked");
    Ok(())
}

/// Transactions, sequences and prepared transactions go on.
fn assert_writable(clone: &Cluster) -> Result<()> {
    let mut client = clone.client(Workload::DATABASE)?;
    client.batch_execute(
        "CREATE TABLE made_here (id serial, t text);
         INSERT INTO made_here (t) SELECT repeat('x', 100) FROM generate_series(1, 10000);
         CHECKPOINT",
    )?;
    let open: Vec<String> = client
        .query("SELECT gid FROM pg_prepared_xacts ORDER BY gid", &[])?
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(open.len(), 2);
    client.batch_execute(&format!("COMMIT PREPARED '{}'", open[0]))?;
    client.batch_execute(&format!("ROLLBACK PREPARED '{}'", open[1]))?;
    let next: i64 = client.query_one("SELECT txid_current()", &[])?.get(0);
    let highest: i64 = client
        .query_one("SELECT max(xmin::text::bigint) FROM made_here", &[])?
        .get(0);
    assert!(next > highest);
    Ok(())
}

/// A smaller server, stopped, for what does not depend on the workload. Tests that run at the same time
/// share it.
fn small_server() -> Result<Arc<Cluster>> {
    static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(cluster) = shared.upgrade() {
        return Ok(cluster);
    }
    let cluster = Arc::new(small_server_of(&PgInstall::tested()?)?);
    *shared = Arc::downgrade(&cluster);
    Ok(cluster)
}

fn small_server_of(install: &PgInstall) -> Result<Cluster> {
    let mut cluster = server(install, false, 1)?;
    let place = cluster.make_dir("space")?;
    let mut client = cluster.client("postgres")?;
    client.batch_execute(&format!(
        "CREATE TABLESPACE space LOCATION '{}'",
        place.display()
    ))?;
    client.batch_execute(
        "CREATE TABLE t TABLESPACE space AS SELECT i, md5(i::text) FROM generate_series(1, 2000) i;
         SELECT pg_replication_origin_create('elsewhere');
         SELECT pg_replication_origin_advance('elsewhere', '0/1234568')",
    )?;
    client
        .batch_execute("BEGIN; INSERT INTO t VALUES (0, 'prepared'); PREPARE TRANSACTION 'open'")?;
    drop(client);
    cluster.stop(StopMode::Fast)?;
    Ok(cluster)
}

fn rows(cluster: &Cluster) -> Result<i64> {
    Ok(cluster
        .client("postgres")?
        .query_one("SELECT count(*) FROM t", &[])?
        .get(0))
}

#[test]
fn a_checkpoint_may_stand_anywhere_and_the_clone_starts() -> Result<()> {
    let original = small_server()?;
    let source = StoppedServer::open(original.data_dir())?;
    let home = Scratch::new(&original.install().user(), None)?;
    let segment = next_segments(&source);
    for (name, lsn) in [
        ("page", segment + 5 * 8192),
        ("segment", segment),
        ("header_split", segment + 5 * 8192 - 16),
        ("two_segments", segment - 40),
    ] {
        let dir = home.path().join(name);
        check_out(&Altered::at(&source, Lsn::new(lsn)), &dir, &options())?;
        assert_small_clone(&original, &dir).with_context(|| format!("X at a {name}: {lsn:#x}"))?;
    }
    Ok(())
}

/// Control file, checkpoint record, names of two-phase files and of tablespaces' directories differ.
#[test]
fn clones_of_every_other_version_start_at_once() -> Result<()> {
    for version in PgVersion::ALL {
        if version == PgVersion::V15 {
            continue;
        }
        let original = small_server_of(&PgInstall::find(version)?)?;
        let source = StoppedServer::open(original.data_dir())?;
        assert_eq!(source.imported.version, version);
        let home = Scratch::new(&original.install().user(), None)?;
        for lsn in [source.lsn(), Lsn::new(next_segments(&source) - 40)] {
            let dir = home.path().join(lsn.segment_offset(1 << 30).to_string());
            check_out(&Altered::at(&source, lsn), &dir, &options())?;
            assert_small_clone(&original, &dir)
                .with_context(|| format!("PostgreSQL {version}, X at {lsn}"))?;
        }
    }
    Ok(())
}

/// The start of a segment that the source has not reached.
fn next_segments(source: &StoppedServer) -> u64 {
    const MIB: u64 = 1 << 20;
    (source.lsn().get() / MIB + 3) * MIB
}

/// A clone of the small server starts without recovery, has its rows, its prepared transaction and its
/// replication origin, and survives a crash.
fn assert_small_clone(original: &Cluster, dir: &Path) -> Result<()> {
    let mut clone = Cluster::open(original.install(), dir, &[])?;
    assert_no_recovery(&clone);
    assert_eq!(rows(&clone)?, 2000);
    clone
        .client("postgres")?
        .batch_execute("COMMIT PREPARED 'open'")?;
    clone.restart(StopMode::Immediate)?;
    assert_eq!(
        rows(&clone)?,
        2001,
        "what was written behind the checkpoint is replayed"
    );
    let progress: String = clone
        .client("postgres")?
        .query_one(
            "SELECT pg_replication_origin_progress('elsewhere', false)::text",
            &[],
        )?
        .get(0);
    assert_eq!(progress, "0/1234568");
    Ok(())
}

#[test]
fn a_clone_of_a_clone_knows_both_ancestors_and_tablespaces_go_where_told() -> Result<()> {
    let original = small_server()?;
    let home = Scratch::new(&original.install().user(), None)?;
    let (first, second) = (home.path().join("first"), home.path().join("second"));
    check_out(
        &StoppedServer::open(original.data_dir())?,
        &first,
        &options(),
    )?;
    let mut clone = Cluster::open(original.install(), &first, &[])?;
    clone
        .client("postgres")?
        .batch_execute("INSERT INTO t VALUES (-1, 'clone')")?;
    clone.stop(StopMode::Fast)?;

    let space = home.path().join("space");
    let source = StoppedServer::open(&first)?;
    let (_, old) = source.tablespaces().unwrap().remove(0);
    let again = CheckoutOptions {
        pg_timeline: TIMELINE + 0x1000,
        tablespace_mapping: vec![(String::from_utf8(old)?, space.to_str().unwrap().to_owned())],
        ..options()
    };
    check_out(&source, &second, &again)?;
    let history = fs::read_to_string(second.join("pg_wal/10001000.history"))?;
    let timelines: Vec<&str> = history
        .lines()
        .filter_map(|l| l.split('\t').next())
        .collect();
    assert_eq!(timelines, ["1", "268435456"]);
    let version = original.install().version();
    assert!(space.join(tablespace_directory(version)).is_dir());

    original.install().user().own(&space)?;
    let clone = Cluster::open(original.install(), &second, &[])?;
    assert_no_recovery(&clone);
    assert_eq!(rows(&clone)?, 2001);
    let location: String = clone
        .client("postgres")?
        .query_one(
            "SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'space'",
            &[],
        )?
        .get(0);
    assert_eq!(PathBuf::from(location), space);
    Ok(())
}

#[test]
fn a_directory_in_use_is_refused_and_left_alone() -> Result<()> {
    let original = small_server()?;
    let source = StoppedServer::open(original.data_dir())?;
    let home = tempfile::tempdir()?;
    let dir = home.path().join("mine");
    fs::create_dir(&dir)?;
    fs::write(dir.join("letter"), "dear")?;
    let refused = check_out(&source, &dir, &options());
    assert!(matches!(refused, Err(CheckoutError::NotEmpty(path)) if path == dir));
    let refused = check_out(&source, &dir.join("letter"), &options());
    assert!(matches!(refused, Err(CheckoutError::NotEmpty(_))));
    assert_eq!(fs::read(dir.join("letter"))?, b"dear");

    // The tablespace's new place is in use: what was begun is taken back.
    let (_, old) = source.tablespaces().unwrap().remove(0);
    let mut mapped = CheckoutOptions {
        tablespace_mapping: vec![(String::from_utf8(old)?, dir.to_str().unwrap().to_owned())],
        ..options()
    };
    let target = home.path().join("target");
    let refused = check_out(&source, &target, &mapped);
    assert!(matches!(refused, Err(CheckoutError::NotEmpty(path)) if path == dir));
    assert!(!target.exists());

    mapped.tablespace_mapping[0].1 = "relative".to_owned();
    let refused = check_out(&source, &target, &mapped);
    assert!(matches!(
        refused,
        Err(CheckoutError::RelativeTablespace { .. })
    ));
    mapped.tablespace_mapping[0].0 = "/nowhere".to_owned();
    let refused = check_out(&source, &target, &mapped);
    assert!(matches!(refused, Err(CheckoutError::UnknownTablespace(_))));
    let refused = check_out(
        &source,
        &target,
        &CheckoutOptions {
            pg_timeline: 1,
            ..options()
        },
    );
    assert!(matches!(
        refused,
        Err(CheckoutError::Timeline { new: 1, parent: 1 })
    ));
    assert_eq!(fs::read(dir.join("letter"))?, b"dear");
    assert!(!target.exists());
    Ok(())
}

#[test]
fn an_interrupted_checkout_leaves_nothing_and_never_starts() -> Result<()> {
    let original = small_server()?;
    let server = StoppedServer::open(original.data_dir())?;
    let home = Scratch::new(&original.install().user(), None)?;

    // Fails in the middle of the relations.
    let dir = home.path().join("new");
    let asked = Cell::new(0);
    let failing = Altered {
        before: Box::new(|_| {
            asked.set(asked.get() + 1);
            ensure!(asked.get() < 100, "the disk is gone");
            Ok(())
        }),
        ..Altered::at(&server, server.lsn())
    };
    let failed = check_out(&failing, &dir, &options()).unwrap_err();
    assert!(failed.to_string().contains("the disk is gone"), "{failed}");
    assert!(!dir.exists(), "a directory that was made is removed");
    asked.set(0);
    fs::create_dir(&dir)?;
    check_out(&failing, &dir, &options()).unwrap_err();
    assert_eq!(listing(&dir)?, [], "a directory that was there is emptied");

    // The process dies as late as can be: all but the control file is written.
    let dir = home.path().join("dead");
    let copy = home.path().join("copy");
    let dying = Altered {
        before: Box::new(|what| {
            if what == Asked::Wal && !copy.exists() {
                let status = std::process::Command::new("cp")
                    .arg("-a")
                    .args([&dir, &copy])
                    .status()?;
                ensure!(status.success());
            }
            Ok(())
        }),
        ..Altered::at(&server, server.lsn())
    };
    check_out(&dying, &dir, &options())?;
    assert!(dir.join("global/pg_control").exists());
    assert!(copy.join("postgresql.conf").exists());
    let refused = Cluster::open(original.install(), &copy, &[]).unwrap_err();
    assert!(
        format!("{refused:#}").contains("could not find the database system"),
        "{refused:#}"
    );
    Ok(())
}
