//! The `pageserver` binary: parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use pageserver_bin::cli::{Cli, Command, Page, Timelines};
use pageserver_bin::stop::Stop;
use pageserver_bin::{allocator, command, demo, log, run, waldump};

fn main() -> ExitCode {
    // Wrong usage ends here, with exit code 2.
    let cli = Cli::parse();
    allocator::return_large();
    match dispatch(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

fn dispatch(cli: &Cli) -> anyhow::Result<()> {
    let quiet = !matches!(cli.command, Command::Run(_));
    let log = log::logger(cli.log_format, log::level(cli.verbose, quiet));
    match &cli.command {
        Command::Demo(args) => demo::demo(args, &log),
        Command::Run(args) => run::run(args, &Stop::on_signal()?, &log),
        Command::Import(args) => command::import(args, &log),
        Command::Status(args) => command::status(args, &log),
        Command::Page {
            command: Page::Get(args),
        } => command::page_get(args, &log),
        Command::Page {
            command: Page::History(args),
        } => command::page_history(args, &log),
        Command::Lsn(args) => command::lsn(args, &log),
        Command::Time(args) => command::time(args, &log),
        Command::Checkpoint(args) => command::checkpoint(args, &log),
        Command::Compact(args) => command::compact(args, &log),
        Command::Gc(args) => command::gc(args, &log),
        Command::Timeline {
            command: Timelines::List(args),
        } => command::timeline_list(args, &log),
        Command::Timeline {
            command: Timelines::Branch(args),
        } => command::timeline_branch(args, &log),
        Command::Timeline {
            command: Timelines::Follow(args),
        } => command::timeline_follow(args, &log),
        Command::Timeline {
            command: Timelines::Unfollow(args),
        } => command::timeline_unfollow(args, &log),
        Command::Timeline {
            command: Timelines::Delete(args),
        } => command::timeline_delete(args, &log),
        Command::Timeline {
            command: Timelines::Lease(args),
        } => command::timeline_lease(args, &log),
        Command::Verify(args) => command::verify(args, &log),
        Command::Checkout(args) => command::checkout(args, &log),
        Command::Waldump(args) => waldump::waldump(args),
        Command::Walverify(args) => command::walverify(args, &log),
    }
}

#[expect(clippy::print_stderr, reason = "this is where a person is told")]
fn report(error: &anyhow::Error) {
    // An error whose own text already tells its cause says it once.
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text += if text.is_empty() { "" } else { ": " };
            text += &cause;
        }
    }
    eprintln!("pageserver: {text}");
}
