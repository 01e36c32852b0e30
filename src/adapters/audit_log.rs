//! The audit log: what is recorded at the same time is gathered, chained and written at once (group commit), by whoever brought it
//! or, where a write may wait, by a thread.

mod chain;
mod datagram_sink;
mod file_sink;
mod gather;
mod stdout_sink;
mod verify;
mod writer;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use thiserror::Error;
use tokio::sync::mpsc;

pub use self::verify::{Broken, Verified, verify};
use self::{
    chain::Chain,
    datagram_sink::DatagramSink,
    file_sink::FileSink,
    gather::{Gatherer, Hand},
    stdout_sink::StdoutSink,
    writer::{Sink, Writer},
};
use super::secret_sources::{self, SecretError};
use crate::{
    application::{
        Clock,
        audit::{Audit, PATIENCE, People, Settle},
    },
    config::{AuditConfig, AuditSink, Durability, SubjectForm},
    domain::secret::PseudonymKey,
    telemetry::AuditMetrics,
};

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

/// Opens the log and begins to write. What is recorded is written soon; at once by whoever settles it.
///
/// # Errors
/// It cannot be opened.
///
/// # Panics
/// Outside a tokio runtime.
pub fn open(config: &AuditConfig, clock: Arc<dyn Clock>, metrics: AuditMetrics) -> Result<(Audit, Settle), AuditError> {
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
    let writer = Writer::new(sink, chain, Arc::clone(&clock), metrics.clone());
    let is_quick = writer.is_quick();
    let (audit, queue) = Audit::new(clock, people, (!is_quick).then_some(PATIENCE));
    let hand = if is_quick {
        Hand::Own(Box::new(writer))
    } else {
        let (batches, to_write) = mpsc::channel(1);
        let thread = thread::Builder::new().name("audit-log".to_owned());
        thread.spawn(move || writer.run(to_write)).map_err(AuditError::Thread)?;
        Hand::Thread(batches)
    };
    let gatherer = Arc::new(Gatherer::new(queue, hand, metrics));
    let runs = Arc::clone(&gatherer);
    tokio::spawn(async move { runs.run().await });
    Ok((audit, Settle::new(move || gatherer.settle())))
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
