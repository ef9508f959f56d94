//! Base backups from a scripted server: both dialects, and what a broken one may send.

use std::io::{self, Read};
use std::thread::JoinHandle;

use walreceiver::{
    ArchiveKind, BackupError, BackupOptions, BaseBackup, Connection, ConnectionError, Manifest,
    ProtocolError,
};
use walrecord::{Lsn, PgVersion};

use crate::support::fake::{Peer, serve};
use crate::support::no_log;

/// The result sets that precede the copy: start position and two tablespaces.
fn begin(peer: &mut Peer) {
    peer.welcome();
    peer.expect_query("BASE_BACKUP");
    peer.row(&["recptr", "tli"], &[Some("0/2000028"), Some("1")]);
    let columns = ["spcoid", "spclocation", "size"];
    peer.rows(
        &columns,
        &[
            &[Some("16384"), Some("/space"), Some("2")],
            &[None, None, Some("3")],
        ],
    );
}

fn end(peer: &mut Peer) {
    peer.row(&["recptr", "tli"], &[Some("0/2000100"), Some("1")]);
    peer.send(b'C', b"SELECT\0");
    peer.ready();
}

fn start(
    version: PgVersion,
    manifest: Manifest,
    script: impl FnOnce(&mut Peer) + Send + 'static,
) -> (BaseBackup, JoinHandle<()>) {
    let (info, server) = serve(|peer| {
        begin(peer);
        script(peer);
    });
    let options = BackupOptions {
        manifest,
        ..BackupOptions::default()
    };
    let connection = Connection::connect(&info, &no_log()).unwrap();
    let backup = BaseBackup::start(connection, version, &options).unwrap();
    (backup, server)
}

/// Every archive with its content.
fn read_all(backup: &mut BaseBackup) -> Vec<(ArchiveKind, Vec<u8>)> {
    let mut archives = Vec::new();
    while let Some(mut archive) = backup.next_archive().unwrap() {
        let mut content = Vec::new();
        archive.read_to_end(&mut content).unwrap();
        archives.push((archive.kind().clone(), content));
    }
    archives
}

fn space() -> ArchiveKind {
    ArchiveKind::Tablespace {
        oid: 16384,
        location: "/space".to_owned(),
    }
}

#[test]
fn version_14_sends_a_copy_for_each_archive_and_its_tars_get_their_end() {
    let (mut backup, server) = start(PgVersion::V14, Manifest::Yes, |peer| {
        for parts in [&[&b"sp"[..], b"ace"][..], &[b"base"], &[b"{}"]] {
            peer.send(b'H', &[0, 0, 0]);
            for part in parts {
                peer.send(b'd', part);
            }
            peer.send(b'c', b"");
        }
        end(peer);
    });
    assert_eq!(backup.start_info().estimated_bytes, Some(5 * 1024));
    let archives = read_all(&mut backup);
    let tar = |text: &[u8]| [text, &[0; 1024]].concat();
    assert_eq!(
        archives,
        [
            (space(), tar(b"space")),
            (ArchiveKind::Base, tar(b"base")),
            (ArchiveKind::Manifest, b"{}".to_vec()),
        ]
    );
    assert_eq!(backup.progress().received, 11);
    let (_, end) = backup.finish().unwrap();
    assert_eq!(end.lsn, Lsn::new(0x2000100));
    server.join().unwrap();
}

#[test]
fn version_15_announces_archives_inside_one_copy() {
    let (mut backup, server) = start(PgVersion::V15, Manifest::Yes, |peer| {
        peer.send(b'H', &[0, 0, 0]);
        peer.send(b'd', b"n16384.tar\0/space\0");
        peer.send(b'd', b"dspa");
        peer.send(b'd', b"p\0\0\0\0\0\0\0\x01");
        peer.send(b'd', b"d");
        peer.send(b'd', b"dce");
        peer.send(b'd', b"nbase.tar\0\0");
        peer.send(b'd', b"dbase");
        peer.send(b'd', b"m");
        peer.send(b'd', b"d{}");
        peer.send(b'c', b"");
        end(peer);
    });
    let archives = read_all(&mut backup);
    assert_eq!(
        archives,
        [
            (space(), b"space".to_vec()),
            (ArchiveKind::Base, b"base".to_vec()),
            (ArchiveKind::Manifest, b"{}".to_vec()),
        ]
    );
    backup.finish().unwrap();
    server.join().unwrap();
}

#[test]
fn an_archive_left_unread_does_not_leak_into_the_next() {
    let (mut backup, server) = start(PgVersion::V15, Manifest::No, |peer| {
        peer.send(b'H', &[0, 0, 0]);
        peer.send(b'd', b"n16384.tar\0/space\0");
        peer.send(b'd', b"dspace");
        peer.send(b'd', b"dmore of it");
        peer.send(b'd', b"nbase.tar\0\0");
        peer.send(b'd', b"dbase");
        peer.send(b'c', b"");
        end(peer);
    });
    let mut first = backup.next_archive().unwrap().unwrap();
    first.read_exact(&mut [0; 2]).unwrap();
    let mut second = backup.next_archive().unwrap().unwrap();
    let mut content = String::new();
    second.read_to_string(&mut content).unwrap();
    assert_eq!(content, "base");
    backup.finish().unwrap();
    server.join().unwrap();
}

#[test]
fn messages_that_make_no_sense_end_the_backup() {
    let bad: [&[u8]; 6] = [
        b"",
        b"x",
        b"ddata before any archive",
        b"n../../etc/passwd\0\0",
        b"nbase.tar",
        b"p\0\0",
    ];
    for message in bad {
        let (mut backup, server) = start(PgVersion::V15, Manifest::No, move |peer| {
            peer.send(b'H', &[0, 0, 0]);
            peer.send(b'd', message);
        });
        match backup.next_archive() {
            Err(BackupError::Connection {
                source: ConnectionError::Protocol(_),
                ..
            }) => {}
            other => panic!("{}: {other:?}", message.escape_ascii()),
        }
        server.join().unwrap();
    }
}

#[test]
fn an_error_of_the_server_names_the_bytes_received() {
    let (mut backup, server) = start(PgVersion::V15, Manifest::No, |peer| {
        peer.send(b'H', &[0, 0, 0]);
        peer.send(b'd', b"nbase.tar\0\0");
        peer.send(b'd', b"d1234567");
        peer.error("58030", "could not read file");
    });
    let mut archive = backup.next_archive().unwrap().unwrap();
    let error = io::copy(&mut archive, &mut io::sink()).unwrap_err();
    let error = error.downcast::<BackupError>().unwrap();
    assert!(matches!(error, BackupError::Connection { received: 7, .. }));
    let text = error.to_string();
    assert!(
        text.contains("after 7 bytes") && text.contains("could not read file"),
        "{text}"
    );
    assert!(matches!(backup.finish(), Err(BackupError::Failed)));
    server.join().unwrap();
}

#[test]
fn a_missing_stop_position_is_noticed() {
    let (backup, server) = start(PgVersion::V15, Manifest::No, |peer| {
        peer.send(b'H', &[0, 0, 0]);
        peer.send(b'c', b"");
        peer.send(b'C', b"SELECT\0");
        peer.ready();
    });
    assert!(matches!(
        backup.finish(),
        Err(BackupError::Connection {
            source: ConnectionError::Protocol(ProtocolError::Shape { .. }),
            ..
        })
    ));
    server.join().unwrap();
}
