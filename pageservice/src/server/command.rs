//! What a client can ask for before a page stream begins: the texts of queries.

use walrecord::Lsn;

use crate::wire::request::ProtocolVersion;

/// Bytes of a tenant's or timeline's id or name.
pub const MAX_NAME: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// No command in the text.
    Empty,
    PageStream {
        version: ProtocolVersion,
        tenant: String,
        timeline: String,
    },
    /// Hold an LSN for a time.
    LeaseLsn {
        tenant: String,
        timeline: String,
        lsn: Lsn,
    },
    /// Drivers set things at their start; nothing here depends on them.
    Set,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CommandError {
    #[error("unsupported command {0:?}; there are pagestream_v2, pagestream_v3 and lease lsn")]
    Unsupported(String),
    #[error("{0} takes two arguments: a tenant and a timeline")]
    Arguments(&'static str),
    #[error("lease lsn takes three arguments: a tenant, a timeline and an LSN")]
    LeaseArguments,
    #[error("{0:?} is no LSN")]
    Lsn(String),
    #[error(
        "{0:?} is no id or name: up to {MAX_NAME} letters, digits, underscores, hyphens and dots"
    )]
    Name(String),
}

impl Command {
    pub(super) fn parse(text: &str) -> Result<Command, CommandError> {
        let text = text.trim().trim_end_matches(';').trim_end();
        let mut words = text.split_ascii_whitespace();
        let Some(verb) = words.next() else {
            return Ok(Command::Empty);
        };
        let is = |name: &str| verb.eq_ignore_ascii_case(name);
        let (version, name) = match verb {
            _ if is("set") => return Ok(Command::Set),
            _ if is("lease") => return lease(words),
            _ if is("pagestream_v2") => (ProtocolVersion::V2, "pagestream_v2"),
            _ if is("pagestream_v3") => (ProtocolVersion::V3, "pagestream_v3"),
            other => return Err(CommandError::Unsupported(shortened(other))),
        };
        let (Some(tenant), Some(timeline), None) = (words.next(), words.next(), words.next())
        else {
            return Err(CommandError::Arguments(name));
        };
        Ok(Command::PageStream {
            version,
            tenant: checked_name(tenant)?,
            timeline: checked_name(timeline)?,
        })
    }
}

/// What stands behind `lease`.
fn lease<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<Command, CommandError> {
    match words.next() {
        Some(what) if what.eq_ignore_ascii_case("lsn") => {}
        what => {
            let text = format!("lease {}", what.unwrap_or(""));
            return Err(CommandError::Unsupported(shortened(&text)));
        }
    }
    let arguments = [words.next(), words.next(), words.next()];
    let ([Some(tenant), Some(timeline), Some(lsn)], None) = (arguments, words.next()) else {
        return Err(CommandError::LeaseArguments);
    };
    Ok(Command::LeaseLsn {
        tenant: checked_name(tenant)?,
        timeline: checked_name(timeline)?,
        lsn: lsn.parse().map_err(|_| CommandError::Lsn(shortened(lsn)))?,
    })
}

fn checked_name(text: &str) -> Result<String, CommandError> {
    if is_name(text) {
        Ok(text.to_owned())
    } else {
        Err(CommandError::Name(shortened(text)))
    }
}

/// Whether a text can be an id or a name of a tenant or timeline.
pub(crate) fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(plain)
}

/// A text of the client as an error shows it.
fn shortened(text: &str) -> String {
    text.chars().take(MAX_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_streams_are_named_by_two_words_in_any_case() {
        for (text, version) in [
            (
                "pagestream_v3 0123456789abcdef0123456789abcdef main",
                ProtocolVersion::V3,
            ),
            (
                "  PageStream_V2\t0123456789abcdef0123456789abcdef\nmain ; ",
                ProtocolVersion::V2,
            ),
        ] {
            let expected = Command::PageStream {
                version,
                tenant: "0123456789abcdef0123456789abcdef".to_owned(),
                timeline: "main".to_owned(),
            };
            assert_eq!(Command::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn an_lsn_to_be_held_is_named_by_tenant_timeline_and_itself() {
        let expected = Command::LeaseLsn {
            tenant: "a".to_owned(),
            timeline: "main".to_owned(),
            lsn: Lsn::new(0x300_0060),
        };
        assert_eq!(Command::parse("LEASE lsn a main 0/3000060 "), Ok(expected));
    }

    #[test]
    fn set_is_accepted_and_no_command_is_no_error() {
        assert_eq!(
            Command::parse("SET extra_float_digits = 3"),
            Ok(Command::Set)
        );
        for text in ["", " ;", ";;"] {
            assert_eq!(Command::parse(text), Ok(Command::Empty), "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (text, named) in [
            ("pagestream a b", "pagestream"),
            ("select 1", "select"),
            ("pagestream_v3 a", "two arguments"),
            ("pagestream_v3 a b c", "two arguments"),
            ("pagestream_v3 a ../b", "../b"),
            ("lease a main 0/80", "lease a"),
            ("lease lsn a main", "three arguments"),
            ("lease lsn a main 0/80 0/88", "three arguments"),
            ("lease lsn a main 80", "\"80\""),
        ] {
            let error = Command::parse(text).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
        let long = "x".repeat(60_000);
        for text in [long.clone(), format!("pagestream_v3 {long} main")] {
            assert!(Command::parse(&text).unwrap_err().to_string().len() < 200);
        }
    }
}
