//! `pageserver page get`

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use pageservice::http::TimelineStatus;
use slog::Logger;
use walrecord::{BlockTag, Lsn, Page, PageKey};

use super::client::Server;
use super::past::position;
use super::{answer, open_offline, settled};
use crate::cli::PageGet;
use crate::page_dump::dump;

/// Gets one page and shows or writes it.
///
/// # Errors
/// If the page cannot be had.
pub fn page_get(args: &PageGet, log: &Logger) -> Result<()> {
    let tag = args.page.tag();
    let lsn = position(&args.at, &args.timeline, &args.server, log)?;
    let (page, lsn) = match &args.server.data_dir {
        Some(dir) => from_files(args, tag, lsn, dir, log)?,
        None => from_server(args, tag, lsn)?,
    };
    match &args.output {
        None => answer(dump(PageKey::Block(tag), lsn, &page).trim_end()),
        Some(path) if path.as_os_str() == "-" => std::io::stdout().write_all(&page)?,
        Some(path) => {
            std::fs::write(path, page).with_context(|| format!("writing {}", path.display()))?;
        }
    }
    Ok(())
}

fn from_files(
    args: &PageGet,
    tag: BlockTag,
    lsn: Option<Lsn>,
    dir: &Path,
    log: &Logger,
) -> Result<(Page, Lsn)> {
    let store = open_offline(dir, log)?;
    let timeline = settled(&store, &args.timeline)?;
    let asked = lsn.unwrap_or(timeline.progress().last_record);
    let lsn = timeline.read_position(asked)?;
    let (page, _) = timeline.snapshot(lsn)?.page(tag.into())?;
    Ok((page, lsn))
}

fn from_server(args: &PageGet, tag: BlockTag, lsn: Option<Lsn>) -> Result<(Page, Lsn)> {
    let server = Server::new(&args.server.server);
    let base = format!("/v1/tenant/{0}/timeline/{0}", args.timeline);
    let lsn = match lsn {
        Some(lsn) => lsn,
        None => server.get::<TimelineStatus>(&base)?.last_record_lsn,
    };
    let path = format!(
        "{base}/page?rel={}&fork={}&block={}&lsn={lsn}",
        tag.rel, tag.fork, tag.block
    );
    let bytes = server.get_bytes(&path)?;
    match Page::try_from(bytes.as_slice()) {
        Ok(page) => Ok((page, lsn)),
        Err(_) => bail!(
            "the server answered with {} bytes instead of a page",
            bytes.len()
        ),
    }
}
