//! Manifests as bytes and as files.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::envelope::{FILE_LIMIT, ManifestFormat};
use super::error::{Contradiction, ManifestDamage, ManifestError};
use crate::storage::{Storage, read_whole, replace_file};

/// A manifest of one kind.
///
/// It is implemented here for [`super::Manifest`] and [`super::TenantManifest`].
pub trait ManifestFile: Serialize + DeserializeOwned {
    /// What tells this kind from others.
    const FORMAT: ManifestFormat;

    /// Whether the content hangs together.
    ///
    /// # Errors
    /// The first contradiction.
    fn check(&self) -> Result<(), Contradiction>;

    /// As [`ManifestFile::check`], for what is to become the file at `path`: whatever takes long is better begun
    /// after it.
    ///
    /// # Errors
    /// The first contradiction, with the path.
    fn check_for(&self, path: &Path) -> Result<(), ManifestError> {
        self.check().map_err(|damage| ManifestError::Damaged {
            path: path.to_owned(),
            damage: damage.into(),
        })
    }

    /// The bytes of the file.
    ///
    /// # Errors
    /// If the content contradicts itself or is too long.
    fn encode(&self) -> Result<Vec<u8>, ManifestDamage> {
        self.check()?;
        let payload = serde_json::to_vec(self).map_err(ManifestDamage::Payload)?;
        Self::FORMAT.seal(&payload)
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// If they are no manifest of this kind and version, damaged, or contradict themselves.
    fn decode(bytes: &[u8]) -> Result<Self, ManifestDamage> {
        let payload = Self::FORMAT.unseal(bytes)?;
        let manifest: Self = serde_json::from_slice(payload).map_err(ManifestDamage::Payload)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Reads the file at `path`.
    ///
    /// # Errors
    /// If it cannot be read, or as [`ManifestFile::decode`].
    fn read(storage: &dyn Storage, path: &Path) -> Result<Self, ManifestError> {
        let damaged = |damage| ManifestError::Damaged {
            path: path.to_owned(),
            damage,
        };
        let bytes = read_whole(storage, path, FILE_LIMIT)
            .map_err(ManifestError::io("read", path))?
            .map_err(|found| ManifestDamage::TooLong {
                found,
                limit: FILE_LIMIT,
            })
            .map_err(damaged)?;
        Self::decode(&bytes).map_err(damaged)
    }

    /// Puts this manifest in the place of the file at `path`, durably. After a crash the old one is
    /// there or this one. Everything that it names has to be durable before.
    ///
    /// # Errors
    /// If the file system refuses (on a full disk the old one stays), or as
    /// [`ManifestFile::encode`].
    fn write(&self, storage: &dyn Storage, path: &Path) -> Result<(), ManifestError> {
        let bytes = self.encode().map_err(|damage| ManifestError::Damaged {
            path: path.to_owned(),
            damage,
        })?;
        replace_file(storage, path, &bytes).map_err(ManifestError::io("replace", path))
    }
}
