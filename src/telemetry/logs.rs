//! Log lines: how they look, where they go, whose are kept.

use std::io::{self, IsTerminal as _};

use ::tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::{Layer as _, filter::Targets, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Sends log lines to standard error, once per process, until the guard is dropped. Lines are written by a thread of their
/// own: a reader of standard error that stops reading costs lines and stops nobody.
///
/// Our own lines follow `level`; libraries stay at warnings whatever it says, because their debug lines may quote
/// requests, and requests hold tokens.
pub fn init_logs(level: LevelFilter, format: LogFormat) -> WorkerGuard {
    let targets = Targets::new().with_default(LevelFilter::WARN).with_target(env!("CARGO_CRATE_NAME"), level);
    // It tells of every export that fails; `span_export` does once for each outage.
    let targets = targets.with_target("opentelemetry-otlp", LevelFilter::OFF);
    let (writer, guard) = tracing_appender::non_blocking(io::stderr());
    let lines = fmt::layer().with_writer(writer).with_ansi(io::stderr().is_terminal());
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    // Fails only when a subscriber is there already, as in tests.
    let _ = tracing_subscriber::registry().with(lines.with_filter(targets)).try_init();
    guard
}
