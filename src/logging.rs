//! The operator's log: one line per call event, to standard output, written
//! by a thread of its own so that no shard waits for a terminal or a pipe.

use std::io::IsTerminal;

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Lines that may wait to be written; more are dropped, which the log itself
/// counts, rather than letting a flood of lines stop the calls.
const BUFFERED_LINES: usize = 65_536;

/// Sets the log going. Lines still waiting are written when the guard is
/// dropped. `RUST_LOG`, where it is set, overrides the configured level.
pub fn start(log: Log) -> WorkerGuard {
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(BUFFERED_LINES)
        .lossy(true)
        .thread_name("log")
        .finish(std::io::stdout());
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(log.level.to_string()));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stdout().is_terminal())
        .with_writer(writer);
    match log.format {
        LogFormat::Text => builder.with_target(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    guard
}
