//! `pageserver checkout`

use anyhow::{Context, Result, bail};
use pageservice::http::CheckoutRequest;
use slog::Logger;

use super::client::Server;
use super::past::position;
use super::{answer, open_offline, settled};
use crate::checkout::CheckoutJob;
use crate::cli::Checkout;

/// Writes a data directory.
///
/// # Errors
/// If it cannot be written.
pub fn checkout(args: &Checkout, log: &Logger) -> Result<()> {
    let dir = std::path::absolute(&args.dir)
        .with_context(|| format!("{} is no path", args.dir.display()))?;
    let mapping = args
        .tablespace_mapping
        .iter()
        .map(|text| match text.split_once('=') {
            Some((old, new)) => Ok((old.to_owned(), new.to_owned())),
            None => bail!("{text:?} is no tablespace mapping; expected OLD=NEW"),
        })
        .collect::<Result<Vec<_>>>()?;
    let lsn = position(&args.at, &args.of.timeline, &args.of.ask.server, log)?;
    let summary = match &args.of.ask.server.data_dir {
        Some(data_dir) => {
            let store = open_offline(data_dir, log)?;
            let timeline = settled(&store, &args.of.timeline)?;
            let job = CheckoutJob {
                dir: dir.clone(),
                lsn,
                keep_config: args.keep_config,
                tablespace_mapping: mapping,
                port: args.port,
            };
            let done = crate::checkout::checkout(&store, &timeline, &job, &mut |_| {}, log)?;
            serde_json::to_value(done)?
        }
        None => {
            if !mapping.is_empty() {
                bail!(
                    "--tablespace-mapping needs --data-dir: a running server puts tablespaces inside the directory"
                );
            }
            let request = CheckoutRequest {
                dir: dir.display().to_string(),
                lsn,
                keep_config: args.keep_config,
                port: args.port,
            };
            let path = format!("/v1/tenant/{0}/timeline/{0}/checkout", args.of.timeline);
            Server::new(&args.of.ask.server.server)
                .post(&path, &serde_json::to_string(&request)?)?
        }
    };
    if args.of.ask.json {
        answer(&serde_json::to_string_pretty(&summary)?);
        return Ok(());
    }
    let field = |name: &str| summary.get(name).map_or(String::new(), ToString::to_string);
    answer(&format!(
        "{} is at {}: {} bytes in {} files, {} ms; start it with: pg_ctl -D {0} start",
        dir.display(),
        field("lsn").trim_matches('"'),
        field("bytes"),
        field("files"),
        field("milliseconds")
    ));
    Ok(())
}
