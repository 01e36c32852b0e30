//! Writes the audit log: one thread takes what waits in the queue, chains it, and writes it at once (group commit).
//!
//! What cannot be written changes nothing: whoever waits for it is told, the chain goes on from the last record that is there, and
//! the next batch tries again, so that the log recovers by itself.

mod chain;
mod datagram_sink;
mod file_sink;
mod stdout_sink;
mod verify;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    thread,
};

use thiserror::Error;

pub use self::verify::{Broken, Verified, verify};
use self::{
    chain::{Chain, Line},
    datagram_sink::DatagramSink,
    file_sink::FileSink,
    stdout_sink::{Progress, StdoutSink},
};
use super::secret_sources::{self, SecretError};
use crate::{
    application::{
        Clock,
        audit::{Audit, Entry, People, Queue},
    },
    config::{AuditConfig, AuditSink, Durability, SubjectForm},
    domain::secret::PseudonymKey,
    telemetry::AuditMetrics,
};

/// Records that are written at once.
const MAX_BATCH: usize = 512;

/// Why there is no log.
#[derive(Debug, Error)]
pub enum AuditError {
    /// The key for people's names cannot be used.
    #[error("audit.subject_key: {0}")]
    Key(#[from] SecretError),
    /// The sink cannot be opened.
    #[error("audit.sink: {path}: {error}", path = .path.display())]
    Open {
        /// The file or socket.
        path: PathBuf,
        /// Whether it is to be a file.
        is_file: bool,
        /// Why not.
        error: io::Error,
    },
    /// The system has no thread for it.
    #[error("audit: {0}")]
    Thread(io::Error),
}

impl AuditError {
    /// Whether trying again helps nobody until somebody changes something. A socket may come with its receiver, and another process
    /// may end.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        use io::ErrorKind::{InvalidData, InvalidInput, NotADirectory, NotFound, PermissionDenied};
        match self {
            Self::Key(_) => true,
            Self::Open { is_file, error, .. } => {
                let kinds = [InvalidData, InvalidInput, NotADirectory, NotFound, PermissionDenied];
                *is_file && kinds.contains(&error.kind())
            }
            Self::Thread(_) => false,
        }
    }
}

/// Where lines go.
enum Sink {
    Datagram(DatagramSink),
    File(FileSink),
    Stdout(StdoutSink),
}

/// Opens the log and begins to write.
///
/// # Errors
/// It cannot be opened.
pub fn open(config: &AuditConfig, clock: Arc<dyn Clock>, metrics: AuditMetrics) -> Result<Audit, AuditError> {
    let people = match &config.subject {
        SubjectForm::Plain => People::Plain,
        SubjectForm::Hash(source, _) => {
            People::Hashed(Box::new(PseudonymKey::new(&secret_sources::load(source)?.secret)))
        }
    };
    let mut chain = Chain::default();
    let sink = match &config.sink {
        AuditSink::File(path) => {
            let is_synced = config.durability == Durability::Synced;
            let sink = FileSink::open(path, is_synced, &mut chain).map_err(failed(path, true))?;
            Sink::File(sink)
        }
        AuditSink::Stdout => Sink::Stdout(StdoutSink::open().map_err(failed(Path::new("stdout"), false))?),
        AuditSink::Syslog(path) => Sink::Datagram(DatagramSink::syslog(path).map_err(failed(path, false))?),
        AuditSink::UnixDatagram(path) => Sink::Datagram(DatagramSink::plain(path).map_err(failed(path, false))?),
    };
    let (audit, queue) = Audit::new(Arc::clone(&clock), people, metrics.clone());
    let writer = Writer { sink, chain, clock, metrics, is_failing: false, is_opened: false };
    let thread = thread::Builder::new().name("audit-log".to_owned());
    thread.spawn(move || writer.run(queue)).map_err(AuditError::Thread)?;
    Ok(audit)
}

/// Whether [`open`] could open the sink, without any effect on it.
///
/// # Errors
/// It could not.
pub fn check(sink: &AuditSink) -> Result<(), AuditError> {
    match sink {
        AuditSink::File(path) => file_sink::check(path).map_err(failed(path, true)),
        AuditSink::Stdout => Ok(()),
        AuditSink::Syslog(path) | AuditSink::UnixDatagram(path) => {
            DatagramSink::plain(path).map(drop).map_err(failed(path, false))
        }
    }
}

fn failed(path: &Path, is_file: bool) -> impl FnOnce(io::Error) -> AuditError {
    let path = path.to_owned();
    move |error| AuditError::Open { path, is_file, error }
}

struct Writer {
    sink: Sink,
    chain: Chain,
    clock: Arc<dyn Clock>,
    metrics: AuditMetrics,
    is_failing: bool,
    /// Whether the record that begins the file, or the process, is written.
    is_opened: bool,
}

impl Writer {
    fn run(mut self, Queue { mut entries, lost }: Queue) {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        // The log begins with the process, and not with its first decision.
        self.write(&[], lost.swap(0, Ordering::Relaxed));
        while entries.blocking_recv_many(&mut batch, MAX_BATCH) > 0 {
            self.metrics.waiting(entries.len());
            let mut waiting = Vec::with_capacity(batch.len());
            let mut bodies = Vec::with_capacity(batch.len());
            let mut closed = None;
            for entry in batch.drain(..) {
                match entry {
                    Entry::Record { body, written } => {
                        bodies.push(body);
                        waiting.push(written);
                    }
                    Entry::Close(answer) => {
                        bodies.push(self.event("log_closed", None));
                        closed = Some(answer);
                        break;
                    }
                }
            }
            let missing = lost.swap(0, Ordering::Relaxed);
            let (count, is_marked) = self.write(&bodies, missing);
            let unwritten = waiting.iter().skip(count).filter(|written| written.is_none()).count();
            let still_missing = if is_marked { 0 } else { missing } + unwritten as u64;
            lost.fetch_add(still_missing, Ordering::Relaxed);
            for (index, written) in waiting.into_iter().enumerate() {
                // Whoever does not wait any more has told the caller that there is no token.
                let _ = written.map(|written| written.send(index < count));
            }
            if let Some(closed) = closed {
                let _ = closed.send(());
                return;
            }
        }
    }

    /// How many of `bodies` are written, and whether the record of those that are `missing` is.
    fn write(&mut self, bodies: &[Vec<u8>], missing: u64) -> (usize, bool) {
        let result = self.try_write(bodies, missing);
        let (count, is_marked, error) = match result {
            Ok(written) => written,
            Err(error) => (0, false, Some(error)),
        };
        self.metrics.written(count, bodies.len() - count, error.is_none());
        match error {
            Some(error) if !self.is_failing => {
                self.is_failing = true;
                tracing::error!(%error, "The audit log cannot be written: no token leaves until it can");
            }
            None if self.is_failing => {
                self.is_failing = false;
                tracing::info!("The audit log is written again");
            }
            Some(_) | None => {}
        }
        (count, is_marked)
    }

    fn try_write(&mut self, bodies: &[Vec<u8>], missing: u64) -> io::Result<(usize, bool, Option<io::Error>)> {
        if let Sink::File(file) = &mut self.sink
            && file.follow()?
        {
            self.is_opened = false;
        }
        if let Sink::Stdout(stdout) = &mut self.sink {
            stdout.finish_line()?;
        }
        let mut chain = self.chain;
        let mut own = Vec::new();
        if !self.is_opened {
            own.push(self.event("log_opened", Some(("version", env!("CARGO_PKG_VERSION").into()))));
        }
        if let Sink::File(file) = &mut self.sink
            && let cut @ 1.. = file.take_cut()
        {
            own.push(self.event("log_repaired", Some(("cut_bytes", cut.into()))));
        }
        if missing > 0 {
            own.push(self.event("records_lost", Some(("count", missing.into()))));
        }
        let lines: Vec<Line> = own.iter().chain(bodies).map(|body| chain.append(body)).collect();
        if lines.is_empty() {
            return Ok((0, true, None));
        }
        let Progress { whole: count, begun, error } = match &mut self.sink {
            Sink::Datagram(sink) => {
                let (sent, error) = sink.write(&lines);
                Progress { whole: sent, begun: sent, error }
            }
            Sink::File(sink) => match sink.write(&lines) {
                Ok(()) => Progress { whole: lines.len(), begun: lines.len(), error: None },
                Err(error) => Progress { whole: 0, begun: 0, error: Some(error) },
            },
            Sink::Stdout(sink) => sink.write(&lines),
        };
        if let Some(last) = begun.checked_sub(1).and_then(|last| lines.get(last)) {
            self.chain = last.chain;
            self.is_opened = true;
        }
        Ok((count.saturating_sub(own.len()), begun >= own.len(), error))
    }

    fn event(&self, name: &str, member: Option<(&str, serde_json::Value)>) -> Vec<u8> {
        let mut event = serde_json::json!({ "event": name, "time": crate::application::audit::time(self.clock.now()) });
        if let Some((name, value)) = member {
            event[name] = value;
        }
        event.to_string().into_bytes()
    }
}
