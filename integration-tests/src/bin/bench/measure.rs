//! Measuring: CPU time of children, peak memory, medians, and how a ratio is shown. Serves all
//! benchmarks.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// The middle one of some values.
///
/// # Panics
/// If there are none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// One round: what we took and what stock PostgreSQL took, in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub(crate) ours: f64,
    pub(crate) stock: f64,
}

/// Prints the rounds' medians, and the median of the rounds' ratios.
pub(crate) fn report(title: &str, rounds: &[Round], bytes: u64) {
    let ours = median(rounds.iter().map(|round| round.ours));
    let stock = median(rounds.iter().map(|round| round.stock));
    let ratios = || rounds.iter().map(|round| round.ours / round.stock);
    let rate = |seconds: f64| bytes as f64 / seconds / 1e6;
    println!(
        "{title}: ours {ours:.3} s ({:.0} MB/s), stock {stock:.3} s ({:.0} MB/s); time ratio median {:.2} (from {:.2} to {:.2}), rate {:.2} of stock's; load {}",
        rate(ours),
        rate(stock),
        median(ratios()),
        ratios().fold(f64::INFINITY, f64::min),
        ratios().fold(0.0, f64::max),
        1.0 / median(ratios()),
        load_average(),
    );
}

/// Runs a command to its end, its output thrown away; gives the CPU time that it used.
///
/// # Errors
/// If it cannot be run, or fails.
pub(crate) fn cpu_time_of(command: &mut Command) -> Result<f64> {
    let before = children_cpu();
    run(command)?;
    Ok((children_cpu() - before).as_secs_f64())
}

/// Runs a command to its end, its output thrown away.
///
/// # Errors
/// If it cannot be run, or fails; the message carries what it said.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()
        .with_context(|| format!("starting {command:?}"))?;
    if !output.status.success() {
        bail!(
            "{command:?} failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// CPU time of all children that were waited for.
fn children_cpu() -> Duration {
    cpu(libc::RUSAGE_CHILDREN)
}

/// CPU time of this process so far, user and system.
pub(crate) fn own_cpu() -> Duration {
    cpu(libc::RUSAGE_SELF)
}

fn cpu(whose: libc::c_int) -> Duration {
    // SAFETY: a `rusage` of zeros is a valid value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is a `rusage` that we may write to; with these two targets it cannot fail.
    unsafe { libc::getrusage(whose, &mut usage) };
    let time = |t: libc::timeval| {
        Duration::from_secs(t.tv_sec.unsigned_abs())
            + Duration::from_micros(t.tv_usec.unsigned_abs())
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// The load average of the last minute.
pub(crate) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}

/// Starts the measurement of this process's peak memory anew.
pub(crate) fn reset_peak_memory() {
    // Not possible everywhere; the peak is that of the whole run then, which is not less.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// This process's peak memory since the reset, in MiB.
///
/// # Errors
/// If the system does not tell.
pub(crate) fn peak_memory() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .context("no VmHWM")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib >> 10)
}

/// Bytes that this process has written so far, to files and sockets.
///
/// # Errors
/// If the system does not tell.
pub(crate) fn written_bytes() -> Result<u64> {
    let io = fs::read_to_string("/proc/self/io")?;
    let bytes = io.lines().find_map(|line| line.strip_prefix("wchar: "));
    Ok(bytes.context("no wchar")?.trim().parse()?)
}
