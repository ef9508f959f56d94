//! The bodies of the fuzz targets: each takes any bytes, and panics if a decoder breaks a promise. Serves
//! `fuzz/fuzz_targets` and, on the committed corpora, the tests below; not part of the crate otherwise.

use std::io::{Cursor, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use slog::{Discard, Logger, o};
use walrecord::{Lsn, PgTimelineId, PgVersion};

use crate::command::{SlotName, TimelineHistory};
use crate::connection::fuzzing as connection;
use crate::connection::{Connection, FrameError, MessageReader};
use crate::conninfo::{ConnInfo, Environment, match_line};
use crate::{
    BackupOptions, BaseBackup, Control, Held, Manifest, Positions, Primary, Progress,
    ReceiverStatus, SinkError, StreamOptions, TimelineSwitch, WalSink,
};

/// A fuzz target: its name, which is that of its corpus, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// All targets of this crate.
pub const TARGETS: &[Target] = &[
    ("conninfo", conninfo),
    ("history", history),
    ("login", login),
    ("messages", messages),
    ("session", session),
    ("stream", stream),
];

/// A text: as a connection string or URL, as a line of a password file, as the name of a slot. The password
/// is nowhere in what is shown.
pub fn conninfo(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let environment = Environment {
        user: Some("os_user".to_owned()),
        ..Environment::empty()
    };
    match ConnInfo::parse(text, &environment) {
        Ok(info) => {
            assert!(!info.targets.is_empty() && !info.user.is_empty());
            let shown = format!("{info:?}");
            let password = info.password.as_ref().map(crate::Secret::reveal);
            // A short one, or one that is given for something else too, proves nothing.
            let secret = password.filter(|p| p.len() > 12 && text.matches(*p).count() == 1);
            assert!(secret.is_none_or(|secret| !shown.contains(secret)));
        }
        Err(error) => {
            let _ = error.to_string();
        }
    }
    let _ = match_line(
        text,
        crate::conninfo::Wanted {
            host: "db1",
            port: 5432,
            user: "os_user",
        },
    );
    if let Ok(name) = text.parse::<SlotName>() {
        assert_eq!(name.as_str(), text);
    }
}

/// A timeline's history file, the timeline (1 byte) in front: its ancestors ascend.
pub fn history(input: &[u8]) {
    let [timeline, content @ ..] = input else {
        return;
    };
    let timeline = PgTimelineId::from(*timeline);
    if let Ok(history) = TimelineHistory::parse(timeline, content.to_vec()) {
        assert!(history.forks.is_sorted_by(|a, b| a.timeline < b.timeline));
        assert!(history.forks.iter().all(|fork| fork.timeline < timeline));
        assert_eq!(history.content, content);
    }
}

/// What a server sends, the length of the pieces (1 byte) in which it arrives in front: the same messages
/// as if it came at once. Each is read as everything that a message can be.
pub fn messages(input: &[u8]) {
    let [piece, bytes @ ..] = input else {
        return;
    };
    let dripping = Drip {
        bytes,
        piece: usize::from(*piece) + 1,
    };
    let mut dripping = MessageReader::new(dripping);
    let mut whole = MessageReader::new(Cursor::new(bytes));
    loop {
        let (a, b) = (dripping.next(), whole.next());
        match (a, b) {
            (Ok(a), Ok(b)) => {
                assert_eq!((a.tag, a.body), (b.tag, b.body));
                connection::read_as_anything(a);
                crate::stream::read_as_copy_data(a.body);
            }
            (Err(FrameError::Closed), Err(FrameError::Closed))
            | (Err(FrameError::Protocol(_)), Err(FrameError::Protocol(_))) => return,
            (a, b) => panic!("{a:?} in pieces, {b:?} at once"),
        }
    }
}

struct Drip<'a> {
    bytes: &'a [u8],
    piece: usize,
}

impl Read for Drip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.piece.min(buffer.len());
        self.bytes.read(&mut buffer[..count])
    }
}

/// What a server answers to a login, with what the client may use (1 byte) in front: it is in, or has a
/// reason why not.
pub fn login(input: &[u8]) {
    let [means, server @ ..] = input else {
        return;
    };
    with_server(server, |mut client| {
        let _ = connection::log_in(&mut client, *means);
    });
}

/// What a server answers to a series of commands, with the version (1 byte) in front: those that describe
/// it, then a base backup that is read whole.
pub fn session(input: &[u8]) {
    let [version, server @ ..] = input else {
        return;
    };
    let slot: SlotName = "slot".parse().expect("a name");
    let backup_only = version & 0x80 != 0;
    let choice = usize::from(version & 0x7F);
    let version = PgVersion::ALL[choice % PgVersion::ALL.len()];
    with_server(server, |mut client| {
        if !backup_only {
            // Each takes what is left by the one before.
            let _ = Primary::check(&mut client);
            let _ = client.read_slot(&slot);
            let _ = client.timeline_history(2);
        }
        let options = BackupOptions {
            manifest: Manifest::Yes,
            ..BackupOptions::default()
        };
        let Ok(mut backup) = BaseBackup::start(client, version, &options) else {
            return;
        };
        let mut received = 0;
        while let Ok(Some(mut archive)) = backup.next_archive() {
            let read = std::io::copy(&mut archive, &mut std::io::sink());
            received += read.unwrap_or_default();
        }
        // 14 leaves out the end of each tar file.
        assert!(received <= 2 * server.len() as u64 + 1024 * server.len() as u64);
        let _ = backup.finish();
    });
}

/// What a server sends while it streams: the sink gets WAL in order and without gaps, until there is a
/// reason to stop.
pub fn stream(input: &[u8]) {
    with_server(input, |mut client| {
        let start = Lsn::new(0x300_0000);
        let options = StreamOptions {
            status_interval: Duration::from_secs(1),
            silence_timeout: Duration::from_secs(5),
            ..StreamOptions::new(start)
        };
        let mut sink = InOrder(start);
        let (control, status) = (Control::new(), ReceiverStatus::new());
        let _ = crate::stream(&mut client, &mut sink, &options, &control, &status);
        let seen = status.snapshot();
        assert!(seen.connects == 0 || seen.received == sink.0);
    });
}

/// A sink that only checks the order.
struct InOrder(Lsn);

impl Progress for Lsn {
    fn positions(&self) -> Positions {
        Positions::default()
    }
}

impl WalSink for InOrder {
    fn held(&self) -> Held {
        Held {
            valid_end: self.0,
            file_end: self.0,
        }
    }

    fn timeline(&self) -> PgTimelineId {
        1
    }

    fn rewind(&mut self, to: Lsn) -> Result<(), SinkError> {
        self.0 = to;
        Ok(())
    }

    fn write(&mut self, lsn: Lsn, bytes: &[u8]) -> Result<(), SinkError> {
        assert_eq!(lsn, self.0);
        self.0 = lsn + bytes.len() as u64;
        Ok(())
    }

    fn switch_timeline(&mut self, _: TimelineSwitch<'_>) -> Result<(), SinkError> {
        unreachable!("one connection's stream stays on one timeline");
    }

    fn progress(&self) -> Arc<dyn Progress> {
        Arc::new(self.0)
    }
}

/// What a socket pair takes without anybody reading.
const MAX_SERVER: usize = 64 << 10;

/// Runs a client against a server that has said all it will say.
fn with_server(server: &[u8], client: impl FnOnce(Connection)) {
    let (ours, mut theirs) = UnixStream::pair().expect("a socket pair");
    let server = &server[..server.len().min(MAX_SERVER)];
    theirs.write_all(server).expect("it fits");
    theirs.shutdown(Shutdown::Write).expect("it is open");
    let log = Logger::root(Discard, o!());
    client(connection::over(ours, log));
}

#[cfg(test)]
#[path = "../../walrecord/fuzz/replay.rs"]
mod replay;
