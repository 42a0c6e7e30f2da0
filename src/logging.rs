//! The operator's log: one line per call event, to standard output, written
//! by a thread of its own so that no shard waits for a terminal or a pipe.

use std::io::IsTerminal;

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};

/// Lines that may wait to be written; more are dropped, which the log itself
/// counts, rather than letting a flood of lines stop the calls.
const BUFFERED_LINES: usize = 65_536;

/// Changes the log's level.
pub type SetLevel = Box<dyn Fn(tracing::Level) + Send + Sync>;

/// Sets the log going, and gives what changes its level. Lines still waiting
/// are written when the guard is dropped. `RUST_LOG`, where it is set,
/// overrides the configured level.
pub fn start(log: Log) -> (WorkerGuard, SetLevel) {
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(BUFFERED_LINES)
        .lossy(true)
        .thread_name("log")
        .finish(std::io::stdout());
    let ansi = std::io::stdout().is_terminal();
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(ansi)
        .with_writer(writer);
    let (filter, handle) = reload::Layer::new(filter(log.level));
    let registry = tracing_subscriber::registry().with(filter);
    match log.format {
        LogFormat::Text => registry.with(lines.with_target(false)).init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).init(),
    }
    let set_level = move |level| {
        // It fails only once there is no log any more.
        let _ = handle.reload(self::filter(level));
    };
    (guard, Box::new(set_level))
}

fn filter(level: tracing::Level) -> EnvFilter {
    EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level.to_string()))
}
