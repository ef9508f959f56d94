//! A time means the LSN at which stock recovery with that target stops; and what the store has of the past is
//! told, checked and damaged on purpose, through the command line.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use integration_tests::{Scene, logger, open_store};
use pagecache::{StoreConfig, Timeline};
use pageserver_bin::import::{LiveImport, import_live};
use pageserver_bin::moment::Moment;
use pageserver_bin::receivers::Following;
use pageserver_bin::stop::Stop;
use serde_json::Value;
use stockpg::{BackupSource, InitOptions};
use walrecord::{Lsn, PgTime};

use crate::PROGRAM;

/// A primary whose commits, aborts and prepared transactions are known, and a store that follows it.
struct Past {
    scene: Scene,
    timeline: Timeline,
    store: std::sync::Arc<pagecache::Store>,
    /// Path of a table that all of it changed.
    rel: String,
}

/// The primary is archived up to its end, and the store has everything.
fn past() -> Result<Past> {
    let scene = Scene::new(InitOptions::default())?;
    let mut client = scene.primary.client("postgres")?;
    client.batch_execute("CREATE TABLE t (i int)")?;
    let store = std::sync::Arc::new(open_store(&scene.path("store"), StoreConfig::default())?);
    let backup = scene.path("backup");
    fs::create_dir(&backup)?;
    let import = LiveImport {
        conninfo: scene.primary.address().conninfo("postgres").parse()?,
        name: "main".to_owned(),
        slot: integration_tests::SLOT.parse()?,
        tee: Some(backup),
    };
    let timeline = import_live(&store, &import, &Stop::default(), |_| {}, &logger())?;
    let following = Following::start(&timeline, &import.feed(), &logger())?;
    for round in 0..6 {
        let how = if round % 2 == 0 { "COMMIT" } else { "ROLLBACK" };
        // Each is a message of its own: what is sent together is one transaction.
        for statements in [
            "INSERT INTO t VALUES (0)",
            "BEGIN; INSERT INTO t VALUES (100); ROLLBACK",
            &format!("BEGIN; INSERT INTO t VALUES (200); PREPARE TRANSACTION 'p{round}'"),
            "INSERT INTO t VALUES (300)",
            &format!("{how} PREPARED 'p{round}'"),
        ] {
            client.batch_execute(statements)?;
        }
    }
    let row = client.query_one("SELECT pg_relation_filepath('t')", &[])?;
    let rel: String = row.get(0);
    let end = scene.mark()?;
    scene.primary.archived_through(end)?;
    timeline.wait_for(end, integration_tests::PATIENCE)?;
    following.stop();
    Ok(Past {
        scene,
        timeline,
        store,
        rel,
    })
}

/// The times of all commits and aborts that the store knows, ascending by LSN.
fn ended(timeline: &Timeline) -> Result<Vec<(Lsn, PgTime)>> {
    let mut ended = Vec::new();
    let (from, mut at) = {
        let progress = timeline.progress();
        (progress.readable_from, progress.last_record)
    };
    while let Some(end) = timeline.time_of_lsn(at)? {
        if end.lsn <= from {
            break;
        }
        ended.push((end.lsn, end.time));
        at = Lsn::new(end.lsn.get() - 1).max(from);
    }
    ended.reverse();
    Ok(ended)
}

#[test]
fn a_time_is_the_lsn_at_which_stock_recovery_stops() -> Result<()> {
    let past = past()?;
    let ended = ended(&past.timeline)?;
    ensure!(ended.len() >= 24, "{} commits and aborts", ended.len());
    let recovery = past
        .scene
        .recovery(BackupSource::Tars(past.scene.path("backup")))?;
    // Exactly at one, just before, just behind, and between two.
    let mut times = Vec::new();
    for (number, pair) in ended.windows(2).enumerate().skip(2).step_by(5) {
        let (this, next) = (pair[0].1, pair[1].1);
        times.push(match number % 4 {
            0 => this,
            1 => this - 1,
            2 => this + 1,
            _ => this + (next - this) / 2,
        });
    }
    times.push(ended[ended.len() - 2].1);
    for time in times {
        let target = past.timeline.lsn_of_time(time)?;
        ensure!(
            target.stops_before.is_some(),
            "{} is no end",
            Moment::new(time)
        );
        let stopped = recovery.stop_at_time(&Moment::new(time).to_string())?;
        ensure!(
            target.lsn == stopped,
            "{}: {} here, stock recovery stopped at {stopped}",
            Moment::new(time),
            target.lsn
        );
    }
    // Before the import nothing is known; at the end everything is.
    let first = ended[0].1;
    ensure!(past.timeline.lsn_of_time(first - 60_000_000).is_err());
    let last = past.timeline.lsn_of_time(ended[ended.len() - 1].1)?;
    ensure!(last.stops_before.is_none() && last.lsn == past.timeline.progress().last_record);
    past.store.close();
    Ok(())
}

fn pageserver(args: &[&str]) -> Result<Output> {
    Ok(Command::new(PROGRAM).args(args).output()?)
}

/// What the command prints; it must succeed.
fn answer(args: &[&str]) -> Result<String> {
    let output = pageserver(args)?;
    ensure!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn the_past_is_told_and_checked_on_the_command_line() -> Result<()> {
    let Past {
        scene,
        timeline,
        store,
        rel,
    } = past()?;
    let ended = ended(&timeline)?;
    let (lsn, time) = ended[ended.len() / 2];
    let expected = timeline.lsn_of_time(time)?.lsn.to_string();
    timeline.close();
    store.close();
    drop((timeline, store));
    let dir = scene.path("store").display().to_string();
    let here = ["--data-dir", &dir];
    let ask = |args: &[&str]| answer(&[args, &here[..]].concat());

    let moment = Moment::new(time).to_string();
    assert_eq!(ask(&["lsn", "--time", &moment])?.trim(), expected);
    let at = lsn.to_string();
    assert_eq!(ask(&["time", "--lsn", &at])?.trim(), moment);
    let early = pageserver(&["lsn", "--time", "2001-01-01", "--data-dir", &dir])?;
    assert_eq!(early.status.code(), Some(1));
    let text = String::from_utf8(early.stderr)?;
    assert!(text.contains("times are known from 20"), "{text}");

    let history = ["page", "history", "--rel", &rel, "--block", "0", "--json"];
    let before = history_of(&ask(&history)?)?;
    ensure!(before.len() >= 24, "{} versions", before.len());
    let committed = |version: &&Value| version["transaction"]["committed"] == true;
    ensure!(before.iter().filter(committed).count() >= 12);
    ensure!(
        before
            .iter()
            .any(|version| version["transaction"]["committed"] == false)
    );
    ensure!(before.iter().all(|version| version["origin"] == "wal"
        || version["origin"].is_null()
        || version["kind"] == "image"));
    let done = ask(&["checkpoint"])?;
    assert!(done.contains("1 written"), "{done}");
    let after = history_of(&ask(&history)?)?;
    let of = |versions: &[Value], field: &str| -> Vec<Value> {
        versions
            .iter()
            .map(|version| version[field].clone())
            .collect()
    };
    for field in ["lsn", "rmgr", "record", "transaction"] {
        assert_eq!(of(&after, field), of(&before, field), "{field}");
    }
    ensure!(after.iter().all(|version| version["origin"] != "wal"));

    let clone = scene.path("clone").display().to_string();
    ask(&["checkout", &clone, "--time", &moment])?;
    ensure!(Path::new(&clone).join("PG_VERSION").exists());

    let sound: Value = serde_json::from_str(&ask(&["verify", "--json"])?)?;
    ensure!(
        sound["pages"].as_u64() > Some(500) && sound["finding_count"] == 0,
        "{sound}"
    );
    let layer = largest(&PathBuf::from(&dir), "layer")?;
    let mut bytes = fs::read(&layer)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&layer, &bytes)?;
    let output = pageserver(&["verify", "--json", "--data-dir", &dir])?;
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(report["finding_count"] == 1, "{report}");
    let file = report["findings"][0]["file"].as_str().context("a file")?;
    ensure!(
        layer.ends_with(file),
        "{file}, damaged is {}",
        layer.display()
    );
    Ok(())
}

fn history_of(text: &str) -> Result<Vec<Value>> {
    serde_json::from_str(text).with_context(|| text.to_owned())
}

/// The largest file of a kind below a directory.
fn largest(dir: &Path, extension: &str) -> Result<PathBuf> {
    let mut found: Option<(u64, PathBuf)> = None;
    let mut left = vec![dir.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found = found.max(Some((path.metadata()?.len(), path)));
            }
        }
    }
    Ok(found.context("a file")?.1)
}

#[test]
fn a_running_server_answers_what_its_files_would() -> Result<()> {
    let scene = Scene::new(InitOptions::default())?;
    let mut client = scene.primary.client("postgres")?;
    client.batch_execute("CREATE TABLE t (i int)")?;
    let daemon = scene.daemon(PROGRAM);
    let server = daemon.start()?;
    server.log.wait_for("primary imported")?;
    for value in 0..3 {
        client.batch_execute(&format!("INSERT INTO t VALUES ({value})"))?;
    }
    let row = client.query_one("SELECT pg_relation_filepath('t')", &[])?;
    let rel: String = row.get(0);
    let end = scene.primary.insert_lsn()?;
    scene.wait_acknowledged(end)?;
    let at = end.to_string();
    let serving = server.log.wait_for("serving")?;
    let live = format!("http://{}", serving.field("http"));
    let history = [
        "page", "history", "--rel", &rel, "--block", "0", "--lsn", &at,
    ];
    let questions: [&[&str]; 4] = [
        &["time", "--lsn", &at],
        &["lsn", "--time", "2100-01-01T00:00:00Z"],
        &["verify"],
        &history,
    ];
    let done = answer(&["checkpoint", "--server", &live])?;
    assert!(done.contains("in layer files"), "{done}");
    let ask = |from: [&str; 2]| -> Result<Vec<String>> {
        let answers = questions.iter();
        answers
            .map(|question| answer(&[question, &from[..]].concat()))
            .collect()
    };
    let told = ask(["--server", &live])?;
    metrics_are_samples(&get(serving.field("http"), "/metrics")?)?;
    server.stop()?;
    let found = ask(["--data-dir", &daemon.data_dir.display().to_string()])?;
    assert_eq!(told[0], found[0], "time");
    assert_eq!(told[3], found[3], "history");
    assert_eq!(told[3].lines().count(), 3, "{}", told[3]);
    assert!(told[3].contains("Heap/INSERT"), "{}", told[3]);
    assert!(told[2].starts_with("read ") && found[2].starts_with("read "));
    assert!(told[1].trim().parse::<Lsn>()? <= found[1].trim().parse()?);
    Ok(())
}

/// What a server answers to a request.
fn get(address: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no body")?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{head}");
    Ok(body.to_owned())
}

/// Each line is a comment or a number of something, and what operators are told to look at is there.
fn metrics_are_samples(metrics: &str) -> Result<()> {
    let samples = metrics.lines().filter(|line| !line.starts_with('#'));
    for line in samples {
        let (_, value) = line.rsplit_once(' ').context("no value")?;
        ensure!(value.parse::<f64>().is_ok(), "{line:?}");
    }
    for series in [
        "zenith_timelines_refused 0",
        "zenith_timeline_last_record_lsn{",
        "zenith_timeline_runs{",
        "zenith_timeline_damaged_layers{",
        "zenith_timeline_read_layers_bucket{",
    ] {
        ensure!(
            metrics.lines().any(|line| line.starts_with(series)),
            "{series}: {metrics}"
        );
    }
    for what in ["layers", "compaction"] {
        let waits = "zenith_timeline_indexing_wait_seconds_total{";
        let label = format!("for=\"{what}\"}}");
        let is_there = |line: &str| line.starts_with(waits) && line.contains(&label);
        ensure!(metrics.lines().any(is_there), "{label}: {metrics}");
    }
    Ok(())
}
