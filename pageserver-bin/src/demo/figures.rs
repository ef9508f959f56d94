//! What the demo measures, and how it shows it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use pagecache::Timeline;
use pageservice::ProtocolVersion;
use pageservice::client::{PageStreamClient, ReadAt};
use walrecord::{DecoderOptions, Lsn, StreamDecoder};

use super::scene::Scene;
use crate::truth::StoreSubject;

/// Requests of the page-stream measurement.
const REQUESTS: usize = 2_000;

/// Lines of figures, in the order in which they came.
#[derive(Default)]
pub(super) struct Figures {
    lines: Vec<(String, String)>,
    micros: Vec<u32>,
    rebuild_time: Duration,
    rebuilt: u64,
}

impl Figures {
    fn line(&mut self, name: &str, value: String) {
        self.lines.push((name.to_owned(), value));
    }

    pub(super) fn imported(&mut self, layers: u64, backup: &Path, took: Duration) -> Result<()> {
        let mut bytes = 0;
        for entry in std::fs::read_dir(backup)? {
            bytes += entry?.metadata()?.len();
        }
        let rate = bytes as f64 / took.as_secs_f64() / 1e6;
        self.line(
            "live import, under load",
            format!(
                "{:.1} MB in {:.1} s ({rate:.0} MB/s), {:.1} MB on disk",
                bytes as f64 / 1e6,
                took.as_secs_f64(),
                layers as f64 / 1e6
            ),
        );
        Ok(())
    }

    pub(super) fn streamed(&mut self, bytes: u64, took: Duration) {
        self.line(
            "WAL streamed, synced, indexed",
            format!(
                "{:.1} MB in {:.1} s, as fast as the workload wrote it",
                bytes as f64 / 1e6,
                took.as_secs_f64()
            ),
        );
    }

    /// Decodes all WAL of the timeline once more, from its files.
    pub(super) fn measure_decode(&mut self, timeline: &Timeline) -> Result<()> {
        let (start, end) = (timeline.wal_start(), timeline.progress().written);
        let info = timeline.info();
        let options = DecoderOptions {
            segment_size: Some(info.segment_size),
            system_identifier: Some(info.system_identifier),
            version: Some(info.version),
        };
        let mut decoder = StreamDecoder::new(start, options);
        let mut buffer = vec![0; 1 << 20];
        let (mut at, mut records, mut took) = (start, 0u64, Duration::ZERO);
        while at < end {
            let read = timeline.read_wal(at, &mut buffer)?;
            if read == 0 {
                break;
            }
            let begin = Instant::now();
            decoder.push(at, &buffer[..read])?;
            while let Some(raw) = decoder.next_record()? {
                raw.decode()?;
                records += 1;
            }
            took += begin.elapsed();
            at = at + read as u64;
        }
        let seconds = took.as_secs_f64().max(1e-9);
        self.line(
            "WAL decoding with CRC, one thread",
            format!(
                "{records} records, {:.1} million/s, {:.0} MB/s",
                records as f64 / seconds / 1e6,
                (at - start) as f64 / seconds / 1e6
            ),
        );
        Ok(())
    }

    pub(super) fn stock_recovery(&mut self, point: Lsn, took: Duration) {
        self.line(
            &format!("stock recovery to {point}, for comparison"),
            format!("{:.1} s", took.as_secs_f64()),
        );
    }

    pub(super) fn rebuilt(&mut self, subject: &StoreSubject) {
        let micros: u64 = subject.micros.iter().map(|m| u64::from(*m)).sum();
        self.rebuild_time += Duration::from_micros(micros);
        self.rebuilt += subject.pages;
        self.micros.extend(&subject.micros);
    }

    pub(super) fn checkout(&mut self, took: Duration, bytes: u64) {
        self.line(
            "checkout of a whole data directory",
            format!(
                "{:.1} MB in {:.1} s",
                bytes as f64 / 1e6,
                took.as_secs_f64()
            ),
        );
    }

    pub(super) fn clone_started(&mut self, took: Duration) {
        self.line(
            "start of stock PostgreSQL on it",
            format!("{:.2} s", took.as_secs_f64()),
        );
    }

    /// One page, again and again, over the page stream.
    pub(super) fn measure_page_stream(&mut self, scene: &Scene) -> Result<()> {
        let timeline = scene.timeline();
        let info = timeline.info();
        let snapshot = timeline.snapshot(timeline.progress().last_record)?;
        let fork = snapshot
            .forks()?
            .into_iter()
            .filter(|fork| fork.fork == walrecord::ForkNumber::Main)
            .max_by_key(|fork| fork.blocks)
            .context("there are relations")?;
        let mut client = PageStreamClient::connect(
            scene.service().local_addr(),
            ProtocolVersion::V3,
            &info.tenant.to_string(),
            &info.timeline.to_string(),
        )?;
        let mut micros = Vec::with_capacity(REQUESTS);
        for index in 0..REQUESTS {
            let tag = walrecord::BlockTag {
                rel: fork.rel,
                fork: fork.fork,
                block: index as u32 % fork.blocks,
            };
            let begin = Instant::now();
            client.page(ReadAt::exactly(snapshot.lsn()), tag)?;
            micros.push(begin.elapsed().as_micros() as u32);
        }
        let (median, p99) = quantiles(&mut micros);
        self.line(
            "GetPage over TCP, one at a time",
            format!("median {median} us, 99th percentile {p99} us"),
        );
        Ok(())
    }

    /// Shows everything.
    #[expect(clippy::print_stdout, reason = "this is the demo's output")]
    pub(super) fn print(&mut self) {
        let (median, p99) = quantiles(&mut self.micros);
        let rate = self.rebuilt as f64 / self.rebuild_time.as_secs_f64().max(1e-9);
        self.line(
            "pages rebuilt, one thread",
            format!("{rate:.0} a second, median {median} us, 99th percentile {p99} us"),
        );
        println!("measured on this machine, in this run:");
        for (name, value) in &self.lines {
            println!("  {name:<42} {value}");
        }
    }
}

fn quantiles(values: &mut [u32]) -> (u32, u32) {
    if values.is_empty() {
        return (0, 0);
    }
    values.sort_unstable();
    (values[values.len() / 2], values[values.len() * 99 / 100])
}
