//! Time of one page over the page stream with one request under way, against the bare exchange of the
//! same bytes over loopback TCP by the same client code.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use pagecache::storage::LocalStorage;
use pagecache::{Store, StoreConfig};
use pageserver_bin::import::{LiveImport, import_live};
use pageserver_bin::receivers::Receivers;
use pageserver_bin::serve::StoreSource;
use pageserver_bin::stop::Stop;
use pageservice::client::{PageStreamClient, ReadAt};
use pageservice::{Listen, PageService, PageServiceOptions, ProtocolVersion, RequestBody};
use stockpg::Cluster;
use walrecord::{BlockTag, ForkNumber, RelFileLocator, ZERO_PAGE};

use crate::measure::{load_average, median};
use crate::{Bench, wal};

/// Changes of the page that is rebuilt from deltas.
const DELTAS: usize = 20;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Requests of each round.
    #[arg(long, default_value_t = 20_000)]
    requests: usize,
}

pub(crate) fn run(bench: &Bench, options: &Options) -> Result<()> {
    let cluster = wal::primary(bench, &[])?;
    let (image, changed) = tables(&cluster)?;
    let home = bench.home()?;
    let storage = Arc::new(LocalStorage::new(home.path())?);
    let store = Arc::new(Store::open(
        storage,
        StoreConfig::default(),
        bench.log.clone(),
    )?);
    let import = LiveImport {
        conninfo: cluster.address().conninfo("postgres").parse()?,
        name: "main".to_owned(),
        slot: "bench".parse()?,
        tee: None,
    };
    let timeline = import_live(&store, &import, &Stop::default(), |_| {}, &bench.log)?;
    let receivers = Receivers::new(&store, &bench.log);
    receivers.start(&timeline, &import.feed())?;
    let mut client = cluster.client("postgres")?;
    for _ in 0..DELTAS {
        client.batch_execute("UPDATE changed SET v = v + 1")?;
    }
    timeline.wait_for(cluster.insert_lsn()?, Duration::from_secs(60))?;

    let service = PageService::start(
        Listen::loopback("127.0.0.1:0".parse()?),
        Arc::new(StoreSource::new(Arc::clone(&store), receivers.clone())),
        PageServiceOptions::default(),
        &bench.log,
    )?;
    let tenant = timeline.info().tenant.to_string();
    let connect =
        |address| PageStreamClient::connect(address, ProtocolVersion::V3, &tenant, "main");
    let mut bare =
        PageStreamClient::connect(bare_server()?, ProtocolVersion::V2, "tenant", "main")?;
    let mut ours = connect(service.local_addr())?;
    let mut ratios = [Vec::new(), Vec::new()];
    for round in 0..bench.rounds {
        let base = exchange(&mut bare, image, options.requests)?;
        let held = exchange(&mut ours, image, options.requests)?;
        let rebuilt = exchange(&mut ours, changed, options.requests)?;
        println!("round {round}: bare {base}; image {held}; {DELTAS} deltas {rebuilt}");
        ratios[0].push(held.median / base.median);
        ratios[1].push(rebuilt.median / base.median);
    }
    let [held, rebuilt] = ratios.map(median);
    println!(
        "latency: image {held:.2} times bare, {DELTAS} deltas {rebuilt:.2} times bare; load {}",
        load_average()
    );
    service.stop();
    receivers.stop();
    store.close();
    Ok(())
}

/// Two tables: one that stays as it is, and one whose only page is changed after the import.
fn tables(cluster: &Cluster) -> Result<(BlockTag, BlockTag)> {
    let mut client = cluster.client("postgres")?;
    client.batch_execute(
        "CREATE TABLE image AS SELECT i, md5(i::text) t FROM generate_series(1, 100) i;
         CREATE TABLE changed AS SELECT 1 i, 0 v, 'text'::text t;
         CHECKPOINT;",
    )?;
    client.batch_execute("VACUUM FREEZE image")?;
    let mut tag = |table: &str| -> Result<BlockTag> {
        let row = client.query_one(
            "SELECT oid, pg_relation_filenode($1::text::regclass) FROM pg_database WHERE datname = 'postgres'",
            &[&table],
        )?;
        Ok(BlockTag {
            rel: RelFileLocator {
                spc: walrecord::DEFAULT_TABLESPACE,
                db: row.get(0),
                rel: row.get(1),
            },
            fork: ForkNumber::Main,
            block: 0,
        })
    };
    Ok((tag("image")?, tag("changed")?))
}

/// Microseconds of an exchange.
struct Figures {
    median: f64,
    p99: f64,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} us (p99 {:.1})", self.median, self.p99)
    }
}

fn exchange(client: &mut PageStreamClient, tag: BlockTag, requests: usize) -> Result<Figures> {
    let mut samples = Vec::with_capacity(requests);
    for _ in 0..requests {
        let began = Instant::now();
        client.ask(ReadAt::LATEST, RequestBody::GetPage(tag))?;
        samples.push(began.elapsed());
    }
    samples.sort_unstable();
    let micros = |at: usize| samples[at.min(samples.len() - 1)].as_secs_f64() * 1e6;
    Ok(Figures {
        median: micros(requests / 2),
        p99: micros(requests * 99 / 100),
    })
}

/// Speaks as much of the protocol as the client needs, and answers every read with the same bytes.
fn bare_server() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        let mut input = [0; 4096];
        let mut answer = vec![b'd'];
        answer.extend_from_slice(&(4 + 1 + 8192_u32).to_be_bytes());
        answer.push(102);
        answer.extend_from_slice(&ZERO_PAGE);
        // Authentication and readiness, then the start of the stream, then pages.
        let opening: [&[u8]; 2] = [b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I", b"W\0\0\0\x07\0\0\0"];
        let mut answers = opening.into_iter();
        while stream.read(&mut input)? > 0 {
            stream.write_all(answers.next().unwrap_or(&answer))?;
        }
        Ok(())
    });
    Ok(address)
}
