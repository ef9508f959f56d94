//! How much a page costs over the page stream at depth 1, compared with a bare exchange of the same
//! bytes over loopback TCP by the same client code. Both are measured in turn, in one run.
//!
//! `cargo run --release -p pageservice --example loopback_latency [ROUNDS]`
#![allow(
    clippy::print_stdout,
    reason = "an example that prints what it measured"
)]

use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use pageservice::client::{PageStreamClient, ReadAt};
use pageservice::walrecord::{
    BlockTag, ForkNumber, Lsn, Oid, Page, RelFileLocator, SlruKind, ZERO_PAGE,
};
use pageservice::{
    Listen, PageService, PageServiceOptions, PageSource, ProtocolVersion, RequestBody, SourceError,
    TimelineSource,
};

const SAMPLES: usize = 20_000;
const LSN: Lsn = Lsn::new(0x1000);

/// Always the same page.
struct OnePage(Page);

impl TimelineSource for OnePage {
    fn last_record_lsn(&self) -> Lsn {
        LSN
    }

    fn oldest_lsn(&self) -> Lsn {
        LSN
    }

    fn wait_for(&self, _: Lsn, _: Duration) -> Result<(), SourceError> {
        Ok(())
    }

    fn pages(
        &self,
        _: Lsn,
        tags: &[BlockTag],
        out: &mut dyn FnMut(usize, Result<&Page, SourceError>),
    ) {
        (0..tags.len()).for_each(|index| out(index, Ok(&self.0)));
    }

    fn fork_blocks(
        &self,
        _: Lsn,
        _: RelFileLocator,
        _: ForkNumber,
    ) -> Result<Option<u32>, SourceError> {
        Ok(Some(1))
    }

    fn db_size(&self, _: Lsn, _: Oid) -> Result<u64, SourceError> {
        Ok(0)
    }

    fn slru_segment(&self, _: Lsn, _: SlruKind, _: u32) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(None)
    }

    fn describe(&self) -> String {
        String::new()
    }
}

struct Timelines;

impl PageSource for Timelines {
    fn open(&self, _: &str, _: &str) -> Result<Arc<dyn TimelineSource>, SourceError> {
        let mut page = ZERO_PAGE;
        page[12..18].copy_from_slice(&[24, 0, 0, 32, 0, 32]);
        Ok(Arc::new(OnePage(page)))
    }
}

/// Speaks as much of the protocol as the client needs, and answers every read with the same bytes.
fn bare_server() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        received(&mut stream)?;
        stream.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I")?;
        received(&mut stream)?;
        stream.write_all(b"W\0\0\0\x07\0\0\0")?;
        let mut answer = vec![b'd'];
        answer.extend_from_slice(&(4 + 1 + 8192_u32).to_be_bytes());
        answer.push(102);
        answer.extend_from_slice(&ZERO_PAGE);
        while received(&mut stream)? {
            stream.write_all(&answer)?;
        }
        Ok(())
    });
    Ok(address)
}

/// Takes what the client sent, which is one message; false at the end.
fn received(stream: &mut TcpStream) -> std::io::Result<bool> {
    Ok(stream.read(&mut [0; 4096])? > 0)
}

struct Figures {
    median: Duration,
    p99: Duration,
}

fn measure(client: &mut PageStreamClient) -> Result<Figures, Box<dyn Error>> {
    let tag = BlockTag {
        rel: RelFileLocator {
            spc: 1663,
            db: 5,
            rel: 16384,
        },
        fork: ForkNumber::Main,
        block: 0,
    };
    let mut samples = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        let started = Instant::now();
        client.ask(ReadAt::LATEST, RequestBody::GetPage(tag))?;
        samples.push(started.elapsed());
    }
    samples.sort_unstable();
    Ok(Figures {
        median: samples[SAMPLES / 2],
        p99: samples[SAMPLES * 99 / 100],
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let rounds = std::env::args().nth(1).map_or(Ok(5), |text| text.parse())?;
    let log = slog::Logger::root(slog::Discard, slog::o!());
    let listen = Listen::loopback("127.0.0.1:0".parse()?);
    let options = PageServiceOptions::default();
    let service = PageService::start(listen, Arc::new(Timelines), options, &log)?;
    let connect = |address: SocketAddr, version| {
        PageStreamClient::connect(address, version, "tenant", "timeline")
    };
    let mut bare = connect(bare_server()?, ProtocolVersion::V2)?;
    let mut v2 = connect(service.local_addr(), ProtocolVersion::V2)?;
    let mut v3 = connect(service.local_addr(), ProtocolVersion::V3)?;
    let mut ratios = Vec::new();
    for round in 1..=rounds {
        let base = measure(&mut bare)?;
        let two = measure(&mut v2)?;
        let three = measure(&mut v3)?;
        let ratio = three.median.as_secs_f64() / base.median.as_secs_f64();
        println!(
            "round {round}: bare {:?} (p99 {:?}), v2 {:?} (p99 {:?}), v3 {:?} (p99 {:?}): {ratio:.2} times bare",
            base.median, base.p99, two.median, two.p99, three.median, three.p99
        );
        ratios.push(ratio);
    }
    ratios.sort_unstable_by(f64::total_cmp);
    if let Some(median) = ratios.get(ratios.len() / 2) {
        println!("median of the rounds: {median:.2} times bare");
    }
    Ok(())
}
