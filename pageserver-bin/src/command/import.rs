//! `pageserver import`

use std::time::Instant;

use anyhow::Result;
use slog::Logger;

use super::{answer, open_offline};
use crate::cli::Import;
use crate::import::{FilesImport, import_files};

/// Makes a timeline from a backup on disk.
///
/// # Errors
/// If the backup cannot be used; nothing is left of it then.
pub fn import(args: &Import, log: &Logger) -> Result<()> {
    let store = open_offline(&args.data_dir, log)?;
    let begin = Instant::now();
    let job = FilesImport {
        backup: args.backup.clone(),
        wal_dir: args.wal_dir.clone(),
        name: args.name.clone(),
        minor: args.minor,
    };
    let timeline = import_files(&store, &job, log)?;
    let (info, progress, sizes) = (timeline.info(), timeline.progress(), timeline.sizes());
    if args.json {
        let summary = serde_json::json!({
            "tenant_id": info.tenant.to_string(),
            "timeline_id": info.timeline.to_string(),
            "name": info.name,
            "oldest_lsn": progress.readable_from.to_string(),
            "last_record_lsn": progress.last_record.to_string(),
            "layer_bytes": sizes.layer_bytes,
        });
        answer(&serde_json::to_string_pretty(&summary)?);
        return Ok(());
    }
    answer(&format!(
        "imported {} as timeline {} of tenant {}: readable from {} to {}, {:.1} MB of layers, in {:.1} s",
        args.backup.display(),
        info.name,
        info.tenant,
        progress.readable_from,
        progress.last_record,
        sizes.layer_bytes as f64 / 1e6,
        begin.elapsed().as_secs_f64()
    ));
    Ok(())
}
