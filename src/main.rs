//! The gateway's binary: the allocator and the command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ringwire::config::Config;
use ringwire::{banner, gateway, logging};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// SIP media gateway: phones and trunks into application rooms.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// Configuration file (TOML). Without one, everything has a default.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Read the configuration, say what is wrong with it, and end.
    CheckConfig,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let config = match Config::load(arguments.config.as_deref(), |name| std::env::var(name).ok()) {
        Ok(config) => config,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    if let Some(Command::CheckConfig) = arguments.command {
        println!("{}", banner::checked(&config));
        return ExitCode::SUCCESS;
    }
    let log = logging::start(config.log);
    let result = gateway::run(config);
    if let Err(problem) = &result {
        tracing::error!("{problem}");
    }
    drop(log);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
