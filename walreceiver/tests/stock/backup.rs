//! Base backups of a small cluster: every file arrives, once, with its bytes.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use walreceiver::{
    ArchiveKind, BackupError, BackupOptions, BaseBackup, ConnectionError, Manifest, Tee,
};

use crate::support::server::{Server, version};

fn start(server: &Server, options: &BackupOptions) -> BaseBackup {
    BaseBackup::start(server.connect(), version(), options).unwrap()
}

/// Names and sizes of the regular files in a tar stream.
fn members(archive: impl Read) -> BTreeMap<String, u64> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let size = io::copy(&mut entry, &mut io::sink()).unwrap();
        assert_eq!(size, entry.size());
        (path, size)
    });
    entries.collect()
}

#[test]
fn every_relation_file_arrives_with_its_size() {
    let server = Server::start();
    let space = server.side_directory("space");
    server.execute(&format!(
        "CREATE TABLESPACE side LOCATION '{}'",
        space.display()
    ));
    server.execute(
        "CREATE TABLE here AS SELECT g, repeat('x', 100) FROM generate_series(1, 20000) g;
         CREATE TABLE there TABLESPACE side AS SELECT * FROM here; CHECKPOINT",
    );
    let options = BackupOptions {
        label: "it's a label".to_owned(),
        manifest: Manifest::Yes,
        ..BackupOptions::default()
    };
    let mut backup = start(&server, &options);
    let begun = backup.start_info().clone();
    assert_eq!(begun.tablespaces.len(), 1);
    assert_eq!(begun.tablespaces[0].location, space.display().to_string());
    assert!(begun.estimated_bytes.unwrap() > 1 << 20);
    let seen = Arc::new(AtomicU64::new(0));
    let observed = seen.clone();
    backup.on_progress(move |progress| {
        observed.store(progress.received, Ordering::Relaxed);
    });

    let (mut base, mut side, mut manifest) = (None, None, String::new());
    while let Some(mut archive) = backup.next_archive().unwrap() {
        match archive.kind().clone() {
            ArchiveKind::Base => base = Some(members(archive)),
            ArchiveKind::Tablespace { oid, location } => {
                assert_eq!(oid, begun.tablespaces[0].oid);
                assert_eq!(location, begun.tablespaces[0].location);
                side = Some(members(archive));
            }
            ArchiveKind::Manifest => {
                archive.read_to_string(&mut manifest).unwrap();
            }
        }
    }
    assert_eq!(backup.progress().received, seen.load(Ordering::Relaxed));
    let (mut connection, end) = backup.finish().unwrap();
    assert!(end.lsn > begun.lsn);
    assert_eq!((begun.timeline, end.timeline), (1, 1));
    // The connection goes on.
    assert!(connection.identify_system().unwrap().flushed >= end.lsn);

    let base = base.unwrap();
    for name in [
        "PG_VERSION",
        "backup_label",
        "tablespace_map",
        "global/pg_control",
    ] {
        assert!(base.contains_key(name), "{name}");
    }
    let mut relations = 0;
    for database in fs::read_dir(server.data().join("base")).unwrap() {
        let database = database.unwrap();
        for file in fs::read_dir(database.path()).unwrap() {
            let file = file.unwrap();
            if file.file_name() == "pg_internal.init" {
                continue;
            }
            let name = format!(
                "base/{}/{}",
                database.file_name().display(),
                file.file_name().display()
            );
            assert_eq!(
                base.get(&name),
                Some(&file.metadata().unwrap().len()),
                "{name}"
            );
            relations += 1;
        }
    }
    assert!(relations > 500);
    assert!(side.unwrap().values().any(|size| *size > 1 << 20));
    assert!(manifest.contains("\"PostgreSQL-Backup-Manifest-Version\": "));
    assert!(manifest.contains("\"End-LSN\""));
}

#[test]
fn a_tee_leaves_what_was_read_under_its_own_name() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    let mut backup = start(&server, &BackupOptions::default());
    let archive = backup.next_archive().unwrap().unwrap();
    let mut tee = Tee::create(directory.path(), archive).unwrap();
    // A tar parser stops at the end mark; the file must be whole all the same.
    let read = members(&mut tee);
    assert!(!directory.path().join("base.tar").exists());
    let path = tee.finish().unwrap();
    assert_eq!(path, directory.path().join("base.tar"));
    assert_eq!(members(fs::File::open(&path).unwrap()), read);
    assert_eq!(fs::metadata(&path).unwrap().len() % 512, 0);
    backup.finish().unwrap();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn archives_may_be_passed_over() {
    let server = Server::start();
    let backup = start(&server, &BackupOptions::default());
    let (_, end) = backup.finish().unwrap();
    assert!(end.lsn.is_valid());
}

#[test]
fn a_server_that_dies_ends_the_backup_with_the_bytes_received() {
    let server = Server::start();
    server
        .execute("CREATE TABLE t AS SELECT g, repeat('x', 200) FROM generate_series(1, 100000) g");
    let mut backup = start(&server, &BackupOptions::default());
    let mut archive = backup.next_archive().unwrap().unwrap();
    let mut first = [0; 512];
    archive.read_exact(&mut first).unwrap();
    server.stop("immediate");
    let error = io::copy(&mut archive, &mut io::sink()).unwrap_err();
    let error = error.downcast::<BackupError>().unwrap();
    match &error {
        BackupError::Connection { received, source } => {
            assert!(*received >= 512);
            assert!(error.to_string().contains(&received.to_string()));
            assert!(matches!(
                source,
                ConnectionError::Closed { .. }
                    | ConnectionError::Io { .. }
                    | ConnectionError::Server { .. }
            ));
        }
        other => panic!("{other}"),
    }
    assert!(matches!(backup.next_archive(), Err(BackupError::Failed)));
    assert!(matches!(backup.finish(), Err(BackupError::Failed)));
}
