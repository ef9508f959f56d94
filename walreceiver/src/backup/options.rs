//! What to ask of `BASE_BACKUP`, and how each version wants to be asked (repl_gram.y; the options of
//! 15 and newer are read by `parse_basebackup_options` in basebackup.c).

use walrecord::PgVersion;

use crate::command::literal;

/// What to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupOptions {
    /// A name for `backup_label`.
    pub label: String,
    /// How the checkpoint that starts the backup runs.
    pub checkpoint: CheckpointSpeed,
    /// Whether the server describes every file.
    pub manifest: Manifest,
    /// Bytes per second at most, 32 KiB to 1 GiB; none for no limit.
    pub max_rate: Option<u32>,
    /// Whether the server checks page checksums as it reads. A torn page that it then warns about
    /// is healed by replay, so this costs more than it gives.
    pub verify_checksums: bool,
}

/// How the starting checkpoint runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointSpeed {
    /// At once, with a burst of I/O on the server.
    Fast,
    /// Over the time that `checkpoint_completion_target` gives it: minutes.
    Spread,
}

/// Whether a manifest follows the archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manifest {
    /// None.
    No,
    /// One with CRC-32C checksums.
    Yes,
}

impl Default for BackupOptions {
    fn default() -> BackupOptions {
        BackupOptions {
            label: "pageserver".to_owned(),
            checkpoint: CheckpointSpeed::Fast,
            manifest: Manifest::No,
            max_rate: None,
            verify_checksums: false,
        }
    }
}

impl BackupOptions {
    /// The command for a server of `version`. It never waits for the WAL archive: the WAL is
    /// streamed. `tablespace_map` is always asked for, because symbolic links have no place here.
    pub(super) fn command(&self, version: PgVersion) -> String {
        match version {
            PgVersion::V14 => self.keywords(),
            _ => self.parenthesised(),
        }
    }

    fn keywords(&self) -> String {
        let mut words = vec![format!("LABEL {}", literal(&self.label))];
        words.push("PROGRESS".to_owned());
        if self.checkpoint == CheckpointSpeed::Fast {
            words.push("FAST".to_owned());
        }
        words.push("NOWAIT".to_owned());
        if let Some(kilobytes) = self.max_rate_kilobytes() {
            words.push(format!("MAX_RATE {kilobytes}"));
        }
        words.push("TABLESPACE_MAP".to_owned());
        if !self.verify_checksums {
            words.push("NOVERIFY_CHECKSUMS".to_owned());
        }
        if self.manifest == Manifest::Yes {
            words.push("MANIFEST 'yes'".to_owned());
        }
        format!("BASE_BACKUP {}", words.join(" "))
    }

    fn parenthesised(&self) -> String {
        let mut options = vec![format!("LABEL {}", literal(&self.label))];
        options.push("PROGRESS".to_owned());
        options.push(match self.checkpoint {
            CheckpointSpeed::Fast => "CHECKPOINT 'fast'".to_owned(),
            CheckpointSpeed::Spread => "CHECKPOINT 'spread'".to_owned(),
        });
        options.push("WAIT 0".to_owned());
        if let Some(kilobytes) = self.max_rate_kilobytes() {
            options.push(format!("MAX_RATE {kilobytes}"));
        }
        options.push("TABLESPACE_MAP".to_owned());
        options.push(format!(
            "VERIFY_CHECKSUMS {}",
            u8::from(self.verify_checksums)
        ));
        if self.manifest == Manifest::Yes {
            options.push("MANIFEST 'yes'".to_owned());
        }
        format!("BASE_BACKUP ({})", options.join(", "))
    }

    /// The server counts in kilobytes and refuses what is out of its range.
    fn max_rate_kilobytes(&self) -> Option<u32> {
        self.max_rate.map(|rate| (rate / 1024).clamp(32, 1 << 20))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> BackupOptions {
        BackupOptions {
            label: "it's".to_owned(),
            manifest: Manifest::Yes,
            max_rate: Some(1 << 20),
            ..BackupOptions::default()
        }
    }

    #[test]
    fn version_14_is_asked_in_keywords() {
        assert_eq!(
            options().command(PgVersion::V14),
            "BASE_BACKUP LABEL 'it''s' PROGRESS FAST NOWAIT MAX_RATE 1024 TABLESPACE_MAP \
             NOVERIFY_CHECKSUMS MANIFEST 'yes'"
        );
    }

    #[test]
    fn version_15_is_asked_in_parentheses() {
        assert_eq!(
            options().command(PgVersion::V15),
            "BASE_BACKUP (LABEL 'it''s', PROGRESS, CHECKPOINT 'fast', WAIT 0, MAX_RATE 1024, \
             TABLESPACE_MAP, VERIFY_CHECKSUMS 0, MANIFEST 'yes')"
        );
    }
}
