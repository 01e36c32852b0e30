//! The log as datagrams to a local socket, one for each record: to a collector, or to syslog.

use std::{
    io,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process,
    time::Duration,
};

use super::chain::Lines;

/// For one datagram: with a receiver that does not read, tokens are refused rather than held up.
const PATIENCE: Duration = Duration::from_secs(1);
/// Facility authpriv (10), severity informational (6): RFC 5424, section 6.2.1.
const PRIORITY: u8 = 10 * 8 + 6;

pub(super) struct DatagramSink {
    path: PathBuf,
    prefix: String,
    /// None after a failure: the receiver may have been started anew.
    socket: Option<UnixDatagram>,
}

impl DatagramSink {
    /// Datagrams hold the record and nothing else.
    ///
    /// # Errors
    /// Nobody receives there.
    pub(super) fn plain(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), prefix: String::new(), socket: Some(connect(path)?) })
    }

    /// Datagrams in the form that the `syslog` function of the C library sends (RFC 3164).
    ///
    /// # Errors
    /// Nobody receives there.
    pub(super) fn syslog(path: &Path) -> io::Result<Self> {
        let prefix = format!("<{PRIORITY}>metabase-token-service[{}]: ", process::id());
        Ok(Self { prefix, ..Self::plain(path)? })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// How many of the lines are sent, from the first on, and why not all.
    pub(super) fn write(&mut self, lines: &Lines) -> (usize, Option<io::Error>) {
        for (index, line) in lines.iter().enumerate() {
            if let Err(error) = self.send(line) {
                self.socket = None;
                return (index, Some(error));
            }
        }
        (lines.len(), None)
    }

    fn send(&mut self, text: &[u8]) -> io::Result<()> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => connect(&self.path)?,
        };
        let datagram = [self.prefix.as_bytes(), text].concat();
        socket.send(&datagram)?;
        self.socket = Some(socket);
        Ok(())
    }
}

fn connect(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path).map_err(|error| {
        if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) {
            let text = format!("nobody receives there: start the receiver, or change [audit] sink ({error})");
            io::Error::new(error.kind(), text)
        } else {
            error
        }
    })?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}
