//! The gateway's binary: the allocator and the command line.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ringwire::config::Config;
use ringwire::{banner, doctor, gateway, logging};

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
    /// Look at this machine and say what keeps the gateway from running well.
    /// Changes nothing; the exit code is 1 where something has to be mended.
    Doctor {
        /// Print the findings as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Ask the gateway of this configuration whether it is alive; the exit
    /// code is 1 where it is not.
    Healthy,
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
    match arguments.command {
        Some(Command::CheckConfig) => {
            println!("{}", banner::checked(&config));
            return ExitCode::SUCCESS;
        }
        Some(Command::Doctor { json }) => return examine(&config, json),
        Some(Command::Healthy) => return ask(&config),
        None => {}
    }
    let (log, level) = logging::start(config.log);
    let result = gateway::run(config, level);
    if let Err(problem) = &result {
        tracing::error!("{problem}");
    }
    drop(log);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn examine(config: &Config, json: bool) -> ExitCode {
    let facts = doctor::Facts::read(Path::new("/"), config);
    let findings = doctor::examine(&facts, config);
    match json {
        true => println!("{}", doctor::json(&findings)),
        false => println!("{}", doctor::text(&findings)),
    }
    match doctor::has_problem(&findings) {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

fn ask(config: &Config) -> ExitCode {
    match doctor::healthy(config.http.listen) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!(
                "the gateway at {} is not alive: {problem}",
                config.http.listen
            );
            ExitCode::FAILURE
        }
    }
}
