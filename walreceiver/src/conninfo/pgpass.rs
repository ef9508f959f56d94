//! Passwords from a file: `host:port:database:user:password`. Follows `passwordFromFile` of libpq's
//! fe-connect.c.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::Secret;

/// Any group or world permission bit.
const OTHERS: u32 = 0o077;

/// The most of a password file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// What a line must match.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// Host name, or `localhost` for a default socket directory.
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) user: &'a str,
}

/// A physical replication connection belongs to no database; lines name this one.
const DATABASE: &str = "replication";

/// The password in `path` for `wanted`. A file that does not exist holds none.
///
/// # Errors
/// The file is to be ignored for a reason its owner should hear about.
pub(crate) fn look_up(path: &Path, wanted: Wanted<'_>) -> Result<Option<Secret>, PgpassIgnored> {
    let Ok(metadata) = fs::metadata(path) else {
        return Ok(None);
    };
    let ignored = |reason| PgpassIgnored {
        path: path.to_owned(),
        reason,
    };
    if !metadata.is_file() {
        return Err(ignored("it is not a plain file"));
    }
    if metadata.permissions().mode() & OTHERS != 0 {
        return Err(ignored(
            "group or others have access to it; its permissions should be 0600 or less",
        ));
    }
    if metadata.len() > MAX_FILE {
        return Err(ignored("it is larger than 1 MiB"));
    }
    let text = fs::read_to_string(path).map_err(|_| ignored("it cannot be read as text"))?;
    Ok(text.lines().find_map(|line| match_line(line, wanted)))
}

/// Why a password file does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("password file {} is ignored: {reason}", path.display())]
pub struct PgpassIgnored {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: &'static str,
}

pub(crate) fn match_line(line: &str, wanted: Wanted<'_>) -> Option<Secret> {
    let line = line.trim_end_matches(['\r', '\n']);
    if line.starts_with('#') {
        return None;
    }
    let port = wanted.port.to_string();
    let mut rest = line;
    for token in [wanted.host, &port, DATABASE, wanted.user] {
        let (field, after) = next_field(rest)?;
        if field.raw != "*" && field.text != token {
            return None;
        }
        rest = after;
    }
    // The password ends at a further unescaped colon, which some tools append.
    let password = next_field(rest).map_or_else(|| unescape(rest), |(field, _)| field.text);
    Some(Secret::new(password))
}

struct Field<'a> {
    raw: &'a str,
    text: String,
}

/// The field up to an unescaped colon, and what follows that colon.
fn next_field(line: &str) -> Option<(Field<'_>, &str)> {
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ':' => {
                let raw = &line[..at];
                let text = unescape(raw);
                return Some((Field { raw, text }, &line[at + 1..]));
            }
            _ => {}
        }
    }
    None
}

/// A backslash stands for the character behind it.
fn unescape(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut characters = raw.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => text.push(characters.next().unwrap_or('\\')),
            c => text.push(c),
        }
    }
    text
}
