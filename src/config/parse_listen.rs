//! Addresses to listen on.

use std::{net::SocketAddr, path::PathBuf};

use toml::Spanned;

use super::{ListenAddress, ServerConfig, parse::Problems};

/// Of `sockaddr_un`, with room for the final NUL.
const MAX_SOCKET_PATH_BYTES: usize = 107;

/// Parses the address of the gRPC listener.
pub(crate) fn parse_listen(text: &str, has_tls: bool) -> Result<ListenAddress, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        let path = PathBuf::from(path.strip_prefix("//").unwrap_or(path));
        if path.as_os_str().len() > MAX_SOCKET_PATH_BYTES {
            return Err(format!("must be a path of at most {MAX_SOCKET_PATH_BYTES} bytes after \"unix:\""));
        }
        return match (path.is_absolute(), has_tls) {
            (true, false) => Ok(ListenAddress::Unix(path)),
            (true, true) => {
                Err("must be an IP address and a port when `server.tls` is given: a Unix socket has no TLS".to_owned())
            }
            (false, _) => {
                Err("must be an absolute path after \"unix:\", such as \"unix:/run/mts/mts.sock\"".to_owned())
            }
        };
    }
    let address = parse_socket_address(text)?;
    if !has_tls && !address.ip().is_loopback() {
        return Err("must be a loopback address (127.0.0.1 or [::1]) or a Unix socket without `server.tls`: tokens never travel in \
                    plaintext between machines"
            .to_owned());
    }
    Ok(ListenAddress::Tcp(address))
}

pub(super) fn parse_socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "must be an IP address and a port, such as \"127.0.0.1:50051\"; names are not looked up".to_owned()
    })
}

/// The mode of the Unix socket.
pub(super) fn parse_mode(
    raw: Option<&Spanned<String>>,
    listen: Option<&ListenAddress>,
    problems: &mut Problems<'_>,
) -> u32 {
    let Some(text) = raw else { return ServerConfig::DEFAULT_LISTEN_MODE };
    if let Some(ListenAddress::Tcp(_)) = listen {
        problems.add(&text.span(), "needs a Unix socket as `listen`");
    }
    let digits = text.get_ref();
    let is_mode = digits.len() == 4 && digits.starts_with('0') && digits.bytes().all(|digit| digit.is_ascii_digit());
    let mode = u32::from_str_radix(digits, 8).ok().filter(|_| is_mode);
    problems
        .take(&text.span(), mode.ok_or("must be four octal digits beginning with 0, such as \"0660\""))
        .unwrap_or(ServerConfig::DEFAULT_LISTEN_MODE)
}

/// Every listener needs an address of its own. Each address comes with the place where it is given; none = the default.
pub(super) fn check_distinct(
    addresses: [(Option<SocketAddr>, Option<&Spanned<String>>); 3],
    problems: &mut Problems<'_>,
) {
    let known = || addresses.iter().filter_map(|(address, given)| Some(((*address)?, *given)));
    for (index, (address, given)) in known().enumerate() {
        for (earlier, earlier_given) in known().take(index).filter(|(earlier, _)| collide(*earlier, address)) {
            let span = given.or(earlier_given).map_or(0..0, Spanned::span);
            problems.add(
                &span,
                format_args!("{address} and {earlier} collide: every listener needs an address of its own"),
            );
        }
    }
}

fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let is_everywhere = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && (is_everywhere || one.ip() == other.ip())
}
