//! How the vocabulary types stand in a manifest's JSON: as the text that a person reads elsewhere.

use std::fmt::Display;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

/// Types that print and parse: positions, ids, numbers too large for a JSON reader.
pub(super) mod printed {
    use super::*;

    pub(in crate::manifest) fn serialize<T: Display, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(in crate::manifest) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// Lists of such.
pub(super) mod printed_list {
    use super::*;

    pub(in crate::manifest) fn serialize<T: Display, S: Serializer>(
        values: &[T],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(T::to_string))
    }

    pub(in crate::manifest) fn deserialize<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let values = texts
            .iter()
            .map(|text| text.parse().map_err(D::Error::custom));
        values.collect()
    }
}

/// The major version, as a number.
pub(super) mod major {
    use super::*;
    use walrecord::PgVersion;

    pub(in crate::manifest) fn serialize<S: Serializer>(
        version: &PgVersion,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(version.major())
    }

    pub(in crate::manifest) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<PgVersion, D::Error> {
        PgVersion::from_major(u32::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Keys, as the hexadecimal digits of their bytes in a layer file.
pub(super) mod key {
    use super::*;
    use crate::key::{KEY_SIZE, Key};

    pub(in crate::manifest) fn serialize<S: Serializer>(
        key: &Key,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let digits = key.to_bytes().map(|byte| format!("{byte:02x}")).concat();
        serializer.serialize_str(&digits)
    }

    pub(in crate::manifest) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Key, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; KEY_SIZE];
        let digits = text.as_bytes();
        let shaped = digits.len() == 2 * KEY_SIZE && digits.iter().all(u8::is_ascii_hexdigit);
        if !shaped {
            return Err(D::Error::custom(format!("{text:?} is not a key")));
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |c: u8| (c as char).to_digit(16).unwrap_or(0) as u8;
            *byte = digit(pair[0]) << 4 | digit(pair[1]);
        }
        Key::from_bytes(&bytes).map_err(D::Error::custom)
    }
}

/// Layer ids, as the 16 digits of their files' names.
pub(super) mod layer_id {
    use super::*;
    use crate::layer::LayerId;

    pub(in crate::manifest) fn parse(text: &str) -> Option<LayerId> {
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let shaped = text.len() == 16 && text.bytes().all(digit);
        let value = shaped.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        value.map(LayerId::new)
    }

    pub(in crate::manifest) fn serialize<S: Serializer>(
        id: &LayerId,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(in crate::manifest) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<LayerId, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).ok_or_else(|| D::Error::custom(format!("{text:?} is not a layer id")))
    }
}

/// Layer kinds, as words.
pub(super) mod layer_kind {
    use super::*;
    use crate::layer::LayerKind;

    pub(in crate::manifest) fn serialize<S: Serializer>(
        kind: &LayerKind,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match kind {
            LayerKind::Delta => "delta",
            LayerKind::Image => "image",
        })
    }

    pub(in crate::manifest) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<LayerKind, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "delta" => Ok(LayerKind::Delta),
            "image" => Ok(LayerKind::Image),
            other => Err(D::Error::unknown_variant(other, &["delta", "image"])),
        }
    }
}
