//! Identities of tenants and timelines.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A text that is not an id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not an id; expected 32 hexadecimal digits")]
pub struct IdParseError(String);

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Printed and parsed as 32 lower-case hexadecimal digits.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// An id from its 16 bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes.
            pub const fn to_bytes(self) -> [u8; 16] {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", u128::from_be_bytes(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdParseError;

            fn from_str(text: &str) -> Result<Self, IdParseError> {
                let plain = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
                plain
                    .then(|| u128::from_str_radix(text, 16).ok())
                    .flatten()
                    .map(|value| Self(value.to_be_bytes()))
                    .ok_or_else(|| IdParseError(text.to_owned()))
            }
        }
    };
}

id! {
    /// One Postgres cluster, as this server knows it. Random; the system identifier is a checked
    /// attribute of it, since restored copies share that.
    TenantId
}

id! {
    /// One line of history of a tenant. Random; a Postgres timeline number is a `PgTimelineId`.
    TimelineId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_parses_32_digits() {
        let text = "0123456789abcdef0123456789abcdef";
        assert_eq!(text.parse::<TenantId>().unwrap().to_string(), text);
        for bad in ["", "0123", "+123456789abcdef0123456789abcdef"] {
            assert_eq!(bad.parse::<TimelineId>(), Err(IdParseError(bad.to_owned())));
        }
    }
}
