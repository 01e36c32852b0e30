//! Binds the gRPC address: TCP, or a Unix socket that disappears with the process.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _},
        net::UnixStream,
    },
    path::{Path, PathBuf},
};

use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixSocket};

use crate::config::ListenAddress;

/// Connections that wait to be accepted, as many as Linux lets there be (`net.core.somaxconn`, whose default it is). With tokio's 128,
/// most of the clients that a drained replica has sent here at once would be left to try again after a second.
const BACKLOG: u32 = 4096;

/// A bound address.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// Unix socket.
    Unix(UnixListener, SocketFile),
}

impl Listener {
    /// A Unix socket gets `mode` before anyone can connect.
    ///
    /// # Errors
    /// The address cannot be bound, for example because another process has it.
    pub fn bind(address: &ListenAddress, mode: u32) -> io::Result<Self> {
        match address {
            ListenAddress::Tcp(address) => {
                let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
                // A restart does not wait for the connections of the process before to be forgotten.
                socket.set_reuseaddr(true)?;
                socket.bind(*address)?;
                socket.listen(BACKLOG).map(Self::Tcp)
            }
            ListenAddress::Unix(path) => {
                remove_stale(path)?;
                let socket = UnixSocket::new_stream()?;
                socket.bind(path)?;
                let file = SocketFile(path.clone());
                fs::set_permissions(path, Permissions::from_mode(mode))?;
                Ok(Self::Unix(socket.listen(BACKLOG)?, file))
            }
        }
    }

    /// The address, with the port that the system chose for port 0.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn address(&self) -> io::Result<ListenAddress> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(ListenAddress::Tcp),
            Self::Unix(_, SocketFile(path)) => Ok(ListenAddress::Unix(path.clone())),
        }
    }
}

/// Removed when dropped.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Nothing can be done about a failure at exit; the next start removes a stale socket.
        let _ = fs::remove_file(&self.0);
    }
}

/// Removes the socket of a process that died, but neither another file nor a socket that somebody listens on.
fn remove_stale(path: &Path) -> io::Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is not a socket is in the way"));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on the socket")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        // Of another kind, or of another user: somebody may listen.
        Err(error) => {
            let text = format!(
                "whether another process listens on the socket cannot be told; remove it if none does ({error})"
            );
            Err(io::Error::new(io::ErrorKind::AddrInUse, text))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, net::TcpStream, time::Duration};

    use super::*;

    #[tokio::test]
    async fn clients_that_come_at_once_wait_to_be_accepted() {
        let listener = Listener::bind(&ListenAddress::Tcp(([127, 0, 0, 1], 0).into()), 0).unwrap();
        let ListenAddress::Tcp(address) = listener.address().unwrap() else { unreachable!() };
        let most: usize = fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap().trim().parse().unwrap();
        let mut waiting = Vec::new();
        // Those that the system has no room for would not be connected however long they wait, because nobody accepts.
        for _ in 0..most.min(500) {
            waiting.push(TcpStream::connect_timeout(&address, Duration::from_secs(30)).unwrap());
        }
    }
}
