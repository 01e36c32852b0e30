//! Chains the records of a batch and writes them at once.
//!
//! What cannot be written changes nothing: whoever waits for it is told, the chain goes on from the last record that is there, and
//! the next batch tries again, so that the log recovers by itself.

use std::{io, sync::Arc};

use tokio::sync::{mpsc, oneshot};

use super::{
    chain::{Chain, Lines},
    datagram_sink::DatagramSink,
    file_sink::FileSink,
    gather::Batch,
    stdout_sink::{Progress, StdoutSink},
};
use crate::{
    application::{Clock, audit::Record},
    telemetry::AuditMetrics,
};

/// Where lines go.
pub(super) enum Sink {
    Datagram(DatagramSink),
    File(FileSink),
    Stdout(StdoutSink),
}

impl Sink {
    fn place(&self) -> String {
        match self {
            Self::Datagram(sink) => sink.path().display().to_string(),
            Self::File(sink) => sink.path().display().to_string(),
            Self::Stdout(_) => "standard output".to_owned(),
        }
    }
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    /// Of its records, from the first on.
    pub(super) count: usize,
    /// Whether those that are missing are on record.
    pub(super) is_marked: bool,
}

/// The one that writes.
pub(super) struct Writer {
    sink: Sink,
    chain: Chain,
    /// Kept for its room.
    lines: Lines,
    clock: Arc<dyn Clock>,
    metrics: AuditMetrics,
    is_failing: bool,
    /// The event that is to begin the process, or the file; none = its record is written.
    beginning: Option<&'static str>,
}

impl Writer {
    pub(super) fn new(sink: Sink, chain: Chain, clock: Arc<dyn Clock>, metrics: AuditMetrics) -> Self {
        Self { sink, chain, lines: Lines::default(), clock, metrics, is_failing: false, beginning: Some("log_opened") }
    }

    /// Whether no write waits for anything.
    pub(super) fn is_quick(&self) -> bool {
        matches!(&self.sink, Sink::File(sink) if sink.is_quick())
    }

    pub(super) fn run(mut self, mut batches: mpsc::Receiver<(Batch, oneshot::Sender<Written>)>) {
        while let Some((batch, written)) = batches.blocking_recv() {
            // Whoever gathers has gone with the process.
            let _ = written.send(self.write(batch));
        }
    }

    pub(super) fn write(&mut self, batch: Batch) -> Written {
        let Batch { mut records, missing, closes } = batch;
        if closes {
            records.push(self.event("log_closed", None));
        }
        let result = self.try_write(&records, missing);
        let (count, is_marked, error) = match result {
            Ok(written) => written,
            Err(error) => (0, false, Some(error)),
        };
        self.metrics.written(count, records.len() - count, error.is_none());
        match error {
            Some(error) if !self.is_failing => {
                self.is_failing = true;
                tracing::error!(
                    sink = self.sink.place(),
                    %error,
                    "The audit log cannot be written: no token leaves until it can"
                );
            }
            None if self.is_failing => {
                self.is_failing = false;
                tracing::info!("The audit log is written again");
            }
            Some(_) | None => {}
        }
        Written { count, is_marked }
    }

    fn try_write(&mut self, records: &[Record], missing: u64) -> io::Result<(usize, bool, Option<io::Error>)> {
        if let Sink::File(file) = &mut self.sink
            && file.follow()?
        {
            self.beginning.get_or_insert("log_continued");
        }
        if let Sink::Stdout(stdout) = &mut self.sink {
            stdout.finish_line()?;
        }
        let mut chain = self.chain;
        let mut own = Vec::new();
        if let Some(name) = self.beginning {
            own.push(self.event(name, Some(("version", env!("CARGO_PKG_VERSION").into()))));
        }
        if let Sink::File(file) = &mut self.sink
            && let cut @ 1.. = file.cut()
        {
            own.push(self.event("log_repaired", Some(("cut_bytes", cut.into()))));
        }
        if self.is_failing {
            own.push(self.event("log_resumed", None));
        }
        if missing > 0 {
            own.push(self.event("records_lost", Some(("count", missing.into()))));
        }
        if own.is_empty() && records.is_empty() {
            return Ok((0, true, None));
        }
        self.lines.clear();
        own.iter().chain(records).for_each(|record| chain.append(record, &mut self.lines));
        let lines = &self.lines;
        let Progress { whole: count, begun, error } = match &mut self.sink {
            Sink::Datagram(sink) => {
                let (sent, error) = sink.write(lines);
                Progress { whole: sent, begun: sent, error }
            }
            Sink::File(sink) => match sink.write(lines) {
                Ok(()) => Progress { whole: lines.len(), begun: lines.len(), error: None },
                Err(error) => Progress { whole: 0, begun: 0, error: Some(error) },
            },
            Sink::Stdout(sink) => sink.write(lines),
        };
        if let Some(chain) = lines.chain(begun) {
            self.chain = chain;
            self.beginning = None;
        }
        let is_marked = begun >= own.len();
        if let Sink::File(file) = &mut self.sink
            && is_marked
        {
            file.cut_is_told();
        }
        Ok((count.saturating_sub(own.len()), is_marked, error))
    }

    fn event(&self, name: &str, member: Option<(&str, serde_json::Value)>) -> Record {
        let mut event = serde_json::json!({ "event": name });
        if let Some((name, value)) = member {
            event[name] = value;
        }
        Record { time: self.clock.now(), event: event.to_string().into_bytes() }
    }
}
