//! `BASE_BACKUP` as a sequence of archives to read. 15 and newer send one copy with typed messages
//! (`bbsink_copystream` of basebackup_copy.c), 14 one copy for each archive.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read};
use std::time::Duration;

use walrecord::{Oid, PgVersion};

use super::{
    BackupEnd, BackupError, BackupOptions, BackupProgress, BackupStart, Manifest, Tablespace,
};
use crate::command::{Row, number};
use crate::connection::{Body, Connection, ResultSet, unexpected};
use crate::error::{ConnectionError, ProtocolError};

const BACKUP: &str = "BASE_BACKUP";

/// How long the server may send nothing while it copies: a file on a dying disk, not a checkpoint,
/// which comes before.
const SILENCE: Duration = Duration::from_secs(600);

/// Two zero blocks end a tar file; 14 leaves them out.
const TAR_END: usize = 1024;

/// What an archive holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchiveKind {
    /// The data directory, as a tar file. `backup_label` is its first member, `global/pg_control`
    /// the last.
    Base,
    /// One tablespace, as a tar file whose members are relative to its directory.
    Tablespace {
        /// Its number.
        oid: Oid,
        /// Its directory on the server.
        location: String,
    },
    /// The backup manifest: JSON.
    Manifest,
}

impl ArchiveKind {
    /// The file name that `pg_basebackup` gives it.
    pub fn file_name(&self) -> String {
        match self {
            ArchiveKind::Base => "base.tar".to_owned(),
            ArchiveKind::Tablespace { oid, .. } => format!("{oid}.tar"),
            ArchiveKind::Manifest => "backup_manifest".to_owned(),
        }
    }
}

/// A base backup in progress. It owns its connection: a backup that is dropped half-way is aborted
/// on the server too, and leaves nothing.
pub struct BaseBackup {
    connection: Connection,
    start: BackupStart,
    dialect: Dialect,
    phase: Phase,
    /// The rest of the message at hand is `chunk[position..]`.
    chunk: Vec<u8>,
    position: usize,
    received: u64,
    observer: Option<Observer>,
}

type Observer = Box<dyn FnMut(BackupProgress) + Send>;

/// How archives are told apart.
enum Dialect {
    /// 14: the copies come in the order of the tablespace list.
    CopyPerArchive { to_come: VecDeque<ArchiveKind> },
    /// 15 and newer: the copy announces each.
    OneCopy,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    /// Before the first archive, or behind one.
    Between,
    /// 15 and newer: the message that ended the last archive announced this one.
    Announced(ArchiveKind),
    /// Inside an archive of this kind.
    In(ArchiveKind),
    /// All archives are through.
    Ended,
    /// An error made the connection useless.
    Failed,
}

/// What one message of the copy was.
enum Step {
    Data,
    Progress,
    Begins(ArchiveKind),
    CopyDone,
}

impl fmt::Debug for BaseBackup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BaseBackup")
            .field("start", &self.start)
            .field("phase", &self.phase)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

impl BaseBackup {
    /// Starts a base backup and waits for the checkpoint that it begins with.
    ///
    /// # Errors
    /// As the server (`42501`: the role lacks REPLICATION) or the connection fails.
    pub fn start(
        mut connection: Connection,
        version: PgVersion,
        options: &BackupOptions,
    ) -> Result<BaseBackup, BackupError> {
        let (start, mut order) =
            begin(&mut connection, version, options).map_err(|source| BackupError::Connection {
                received: 0,
                source,
            })?;
        if options.manifest == Manifest::Yes {
            order.push_back(ArchiveKind::Manifest);
        }
        let dialect = match version {
            PgVersion::V14 => Dialect::CopyPerArchive { to_come: order },
            _ => Dialect::OneCopy,
        };
        let mut backup = BaseBackup {
            connection,
            start,
            dialect,
            phase: Phase::Between,
            chunk: Vec::new(),
            position: 0,
            received: 0,
            observer: None,
        };
        if let Dialect::OneCopy = backup.dialect {
            backup.expect_copy()?;
        }
        Ok(backup)
    }

    /// What the server reported before the first byte.
    pub fn start_info(&self) -> &BackupStart {
        &self.start
    }

    /// Calls `observer` after each message, that is every 32 KiB or so.
    pub fn on_progress(&mut self, observer: impl FnMut(BackupProgress) + Send + 'static) {
        self.observer = Some(Box::new(observer));
    }

    /// How far it is.
    pub fn progress(&self) -> BackupProgress {
        BackupProgress {
            received: self.received,
            estimated: self.start.estimated_bytes,
        }
    }

    /// The next archive, or none after the last. What was left unread of the one before is passed
    /// over.
    ///
    /// # Errors
    /// As the server or the connection fails.
    pub fn next_archive(&mut self) -> Result<Option<Archive<'_>>, BackupError> {
        while let Phase::In(_) = self.phase {
            self.fetch()?;
        }
        self.chunk.clear();
        self.position = 0;
        let kind = match self.enter() {
            Ok(kind) => kind,
            Err(error) => return Err(self.fail(error)),
        };
        match kind {
            Some(kind) => {
                self.phase = Phase::In(kind.clone());
                Ok(Some(Archive { backup: self, kind }))
            }
            None => Ok(None),
        }
    }

    /// Ends the backup: passes over what is left, and reads the stop position. The connection can be
    /// used again.
    ///
    /// # Errors
    /// As the server or the connection fails.
    pub fn finish(mut self) -> Result<(Connection, BackupEnd), BackupError> {
        while self.next_archive()?.is_some() {}
        match self.read_end() {
            Ok(end) => Ok((self.connection, end)),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// The kind of the archive that comes next; `Phase::Ended` if none does.
    fn enter(&mut self) -> Result<Option<ArchiveKind>, Failure> {
        match std::mem::replace(&mut self.phase, Phase::Between) {
            Phase::Announced(kind) => return Ok(Some(kind)),
            Phase::Ended => {
                self.phase = Phase::Ended;
                return Ok(None);
            }
            Phase::Failed => {
                self.phase = Phase::Failed;
                return Err(Failure::Before);
            }
            Phase::Between | Phase::In(_) => {}
        }
        if let Dialect::CopyPerArchive { to_come } = &mut self.dialect {
            let Some(kind) = to_come.pop_front() else {
                self.phase = Phase::Ended;
                return Ok(None);
            };
            self.expect_copy_response()?;
            return Ok(Some(kind));
        }
        loop {
            match self.step()? {
                Step::Begins(kind) => return Ok(Some(kind)),
                Step::Progress => {}
                Step::CopyDone => {
                    self.phase = Phase::Ended;
                    return Ok(None);
                }
                Step::Data => {
                    return Err(ProtocolError::Shape {
                        command: BACKUP,
                        expected: "archive data behind an archive's name",
                    }
                    .into());
                }
            }
        }
    }

    /// Fills `chunk` with the next bytes of the archive, or leaves it empty and the phase changed at
    /// the archive's end.
    fn fetch(&mut self) -> Result<(), BackupError> {
        match self.fetch_inner() {
            Ok(()) => Ok(()),
            Err(error) => Err(self.fail(error)),
        }
    }

    fn fetch_inner(&mut self) -> Result<(), Failure> {
        self.chunk.clear();
        self.position = 0;
        while self.chunk.is_empty() {
            match self.step()? {
                Step::Data => {}
                Step::Progress => self.observe(),
                Step::Begins(kind) => {
                    self.phase = Phase::Announced(kind);
                    return Ok(());
                }
                Step::CopyDone => {
                    self.end_of_copy();
                    return Ok(());
                }
            }
        }
        self.received += self.chunk.len() as u64;
        self.observe();
        Ok(())
    }

    fn end_of_copy(&mut self) {
        match (&self.dialect, &self.phase) {
            (Dialect::OneCopy, _) => self.phase = Phase::Ended,
            (Dialect::CopyPerArchive { .. }, phase) => {
                if *phase != Phase::In(ArchiveKind::Manifest) {
                    self.chunk.resize(TAR_END, 0);
                }
                self.phase = Phase::Between;
            }
        }
    }

    fn observe(&mut self) {
        let progress = self.progress();
        if let Some(observer) = &mut self.observer {
            observer(progress);
        }
    }

    /// Receives one message of the copy; data lands in `chunk`.
    fn step(&mut self) -> Result<Step, Failure> {
        let receiver = self.connection.receiver();
        receiver.set_deadline(Some(SILENCE));
        let message = receiver.receive(BACKUP)?;
        match (message.tag, &self.dialect) {
            (b'c', _) => Ok(Step::CopyDone),
            (b'd', Dialect::CopyPerArchive { .. }) => {
                self.chunk.extend_from_slice(message.body);
                Ok(Step::Data)
            }
            (b'd', Dialect::OneCopy) => {
                let mut body = Body::new(b'd', message.body);
                match body.u8("backup message type")? {
                    b'd' => {
                        self.chunk.extend_from_slice(body.rest());
                        Ok(Step::Data)
                    }
                    b'p' => {
                        body.i64("progress")?;
                        Ok(Step::Progress)
                    }
                    b'm' => Ok(Step::Begins(ArchiveKind::Manifest)),
                    b'n' => Ok(Step::Begins(announced(body)?)),
                    other => Err(ProtocolError::BadValue {
                        field: "backup message type",
                        value: other.escape_ascii().to_string(),
                        expected: "n, d, p or m",
                    }
                    .into()),
                }
            }
            (tag, _) => Err(unexpected(tag, BACKUP).into()),
        }
    }

    fn expect_copy(&mut self) -> Result<(), BackupError> {
        match self.expect_copy_response() {
            Ok(()) => Ok(()),
            Err(error) => Err(self.fail(error)),
        }
    }

    fn expect_copy_response(&mut self) -> Result<(), Failure> {
        match self.connection.receiver().receive(BACKUP)?.tag {
            b'H' => Ok(()),
            tag => Err(unexpected(tag, BACKUP).into()),
        }
    }

    fn read_end(&mut self) -> Result<BackupEnd, Failure> {
        let receiver = self.connection.receiver();
        let set = receiver.read_result_set(BACKUP)?;
        let (lsn, timeline) = position(&set)?;
        receiver.read_results(BACKUP)?;
        receiver.set_deadline(None);
        Ok(BackupEnd { lsn, timeline })
    }

    fn fail(&mut self, failure: Failure) -> BackupError {
        self.phase = Phase::Failed;
        match failure {
            Failure::Before => BackupError::Failed,
            Failure::Connection(source) => BackupError::Connection {
                received: self.received,
                source,
            },
        }
    }
}

enum Failure {
    Before,
    Connection(ConnectionError),
}

impl From<ConnectionError> for Failure {
    fn from(error: ConnectionError) -> Failure {
        Failure::Connection(error)
    }
}

impl From<ProtocolError> for Failure {
    fn from(error: ProtocolError) -> Failure {
        Failure::Connection(error.into())
    }
}

/// One archive of a base backup; reading it yields its bytes.
///
/// A read error carries a [`BackupError`]; the whole backup is then lost.
#[derive(Debug)]
pub struct Archive<'a> {
    backup: &'a mut BaseBackup,
    kind: ArchiveKind,
}

impl Archive<'_> {
    /// What it holds.
    pub fn kind(&self) -> &ArchiveKind {
        &self.kind
    }
}

impl Read for Archive<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let backup = &mut *self.backup;
        if backup.position == backup.chunk.len() {
            if !matches!(backup.phase, Phase::In(_)) {
                return match backup.phase {
                    Phase::Failed => Err(io::Error::other(BackupError::Failed)),
                    _ => Ok(0),
                };
            }
            backup.fetch().map_err(io::Error::other)?;
        }
        let rest = &backup.chunk[backup.position..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        backup.position += count;
        Ok(count)
    }
}

/// Sends the command and reads the two result sets that precede the copy. Also returns the archives
/// in the order of the tablespace list.
fn begin(
    connection: &mut Connection,
    version: PgVersion,
    options: &BackupOptions,
) -> Result<(BackupStart, VecDeque<ArchiveKind>), ConnectionError> {
    connection.send_query(BACKUP, &options.command(version))?;
    let receiver = connection.receiver();
    let (lsn, timeline) = position(&receiver.read_result_set(BACKUP)?)?;
    let list = receiver.read_result_set(BACKUP)?;
    let mut start = BackupStart {
        lsn,
        timeline,
        tablespaces: Vec::new(),
        estimated_bytes: Some(0),
    };
    let mut order = VecDeque::new();
    for values in &list.rows {
        let row = Row::new(BACKUP, values);
        let kilobytes = row.text(2, "tablespace size")?;
        let kilobytes: Option<u64> = kilobytes
            .map(|text| number(text, "tablespace size"))
            .transpose()?;
        let estimated_bytes = kilobytes.and_then(|n| n.checked_mul(1024));
        start.estimated_bytes = match (start.estimated_bytes, estimated_bytes) {
            (Some(sum), Some(bytes)) => sum.checked_add(bytes),
            _ => None,
        };
        // The data directory itself has neither number nor place.
        let Some(oid) = row.text(0, "tablespace number")? else {
            order.push_back(ArchiveKind::Base);
            continue;
        };
        let tablespace = Tablespace {
            oid: number(oid, "tablespace number")?,
            location: row.required(1, "tablespace location")?.to_owned(),
            estimated_bytes,
        };
        order.push_back(ArchiveKind::Tablespace {
            oid: tablespace.oid,
            location: tablespace.location.clone(),
        });
        start.tablespaces.push(tablespace);
    }
    Ok((start, order))
}

/// A start or stop position: LSN and timeline.
fn position(set: &ResultSet) -> Result<(walrecord::Lsn, walrecord::PgTimelineId), ProtocolError> {
    let row = crate::command::single_row(BACKUP, std::slice::from_ref(set), 2)?;
    Ok((
        crate::command::lsn(row.required(0, "recptr")?, "recptr")?,
        number(row.required(1, "tli")?, "tli")?,
    ))
}

/// The archive that an 'n' message names.
fn announced(mut body: Body<'_>) -> Result<ArchiveKind, ProtocolError> {
    let name = body.text("archive name")?;
    let location = body.text("tablespace path")?;
    if name == "base.tar" {
        return Ok(ArchiveKind::Base);
    }
    let oid = name.strip_suffix(".tar").and_then(|oid| oid.parse().ok());
    match oid {
        Some(oid) => Ok(ArchiveKind::Tablespace { oid, location }),
        None => Err(ProtocolError::BadValue {
            field: "archive name",
            value: name.chars().take(40).collect(),
            expected: "base.tar or a tablespace's number with .tar",
        }),
    }
}
