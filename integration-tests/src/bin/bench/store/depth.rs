//! A page with more and more past versions, read at the newest, a middle and the oldest of them.

use anyhow::Result;
use clap::Args;
use pagecache::StoreConfig;

use crate::fed::Fed;
use crate::reads::{Sampler, block, relation};
use crate::{Bench, wal};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Past versions of each page.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 1_000, 100_000])]
    versions: Vec<u32>,
    /// Reads of each.
    #[arg(long, default_value_t = 5_000)]
    requests: usize,
}

pub(crate) fn run(bench: &Bench, options: &Options) -> Result<()> {
    let cluster = wal::primary(bench, &[])?;
    let mut client = cluster.client("postgres")?;
    for versions in &options.versions {
        client.batch_execute(&format!(
            "CREATE TABLE changed_{versions} AS SELECT 0 v, 'text'::text t"
        ))?;
    }
    let fed = Fed::new(bench, &cluster, StoreConfig::default())?;
    let mut pages = Vec::new();
    for versions in &options.versions {
        let start = fed.catch_up(&cluster)?;
        client.batch_execute(&format!(
            "DO $$ BEGIN FOR i IN 1..{versions} LOOP
                UPDATE changed_{versions} SET v = v + 1; COMMIT; END LOOP; END $$"
        ))?;
        let end = fed.catch_up(&cluster)?;
        let tag = block(relation(&cluster, &format!("changed_{versions}"))?, 0);
        pages.push((*versions, tag, start, end));
    }
    let last = fed.settle(&cluster)?;
    for (versions, tag, start, end) in pages {
        let middle = fed.timeline.boundary(start + (end - start) / 2)?.end;
        for (name, lsn) in [("newest", last), ("middle", middle), ("oldest", start)] {
            let mut sampler = Sampler::default();
            for _ in 0..options.requests {
                sampler.read(&fed.timeline, tag, lsn)?;
            }
            println!(
                "depth: {versions} versions, at the {name}: {}",
                sampler.figures()
            );
        }
    }
    fed.close();
    Ok(())
}
