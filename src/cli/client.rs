//! What the client commands share: connecting, and showing what the server refused.

use std::{error::Error, fmt::Write as _, time::Duration};

use tokio::time::{Instant, timeout_at};
use tonic::Code;

use super::{Server, pem};
use crate::client::{Builder, Client, ConnectError, Error as CallError};

/// A connection to the service. Whatever is done over it has to be done in time.
pub(super) struct Connection {
    pub(super) client: Client,
    address: String,
    deadline: Deadline,
    /// What may be the matter if the server breaks the connection.
    if_broken: &'static str,
}

/// The end of `--timeout`.
struct Deadline {
    at: Instant,
    timeout: Duration,
}

/// Connects to the service, in plaintext only on this machine. The attack: whoever is on the way takes the token that is sent or issued.
pub(super) async fn connect(server: &Server) -> Result<Connection, String> {
    reach(server, |builder| builder).await
}

/// Connects to the service for what is no secret.
pub(super) async fn connect_for_health(server: &Server) -> Result<Connection, String> {
    reach(server, Builder::allow_plaintext).await
}

async fn reach(server: &Server, permit: impl FnOnce(Builder) -> Builder) -> Result<Connection, String> {
    let deadline = Deadline { at: Instant::now() + server.timeout, timeout: server.timeout };
    let address = server.address.clone();
    let builder = permit(secured(Client::builder(uri(server)?), server)?);
    // What the service says is wanted at once, not after other tries.
    match timeout_at(deadline.at, builder.deadline(server.timeout).tries(1).connect()).await {
        Ok(Ok(client)) => Ok(Connection { client, address, deadline, if_broken: if_broken(server) }),
        Ok(Err(ConnectError::Unreachable(error))) => {
            let broken = ["alert", "broken", "canceled", "closed", "reset"];
            let text = with_causes(&error);
            let likely = broken.iter().any(|word| text.contains(word)).then(|| if_broken(server));
            Err(format!("cannot connect to {address}: {}", with_hint(text, likely)))
        }
        Ok(Err(ConnectError::Plaintext)) => {
            let way_out = "give --tls-ca, and ask the mesh's side from the machine that the service is on";
            Err(format!("--address {address:?} is another machine, and tokens do not go there in plaintext: {way_out}"))
        }
        Ok(Err(ConnectError::Tls(error))) => Err(unusable_tls(&error)),
        Ok(Err(ConnectError::TimedOut(_))) | Err(_) => Err(deadline.passed(&address)),
        Ok(Err(_)) => Err(malformed(&address)),
    }
}

impl Connection {
    /// Waits for the answer to an RPC.
    pub(super) async fn answer<T>(&self, rpc: impl Future<Output = Result<T, CallError>>) -> Result<T, String> {
        match timeout_at(self.deadline.at, rpc).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => match error.refusal().cause() {
                // Not from the server: the connection broke, as it does when a certificate is refused after the handshake.
                Some(cause) => {
                    let text = format!("{}: {}", error, with_causes(cause));
                    Err(format!("{}: {}", self.address, with_hint(text, Some(self.if_broken))))
                }
                None => Err(describe(&error)),
            },
            Err(_) => Err(self.deadline.passed(&self.address)),
        }
    }
}

impl Deadline {
    fn passed(&self, address: &str) -> String {
        format!("no answer from {address} within {} (--timeout)", humantime::format_duration(self.timeout))
    }
}

fn malformed(address: &str) -> String {
    format!("--address {address:?} must be HOST:PORT, http://HOST:PORT, https://HOST:PORT or unix:/PATH")
}

fn uri(server: &Server) -> Result<String, String> {
    let address = &server.address;
    let has_ca = server.tls_ca.is_some();
    if let Some(path) = address.strip_prefix("unix:") {
        if has_ca {
            return Err(format!("--address {address:?} must be HOST:PORT or https://HOST:PORT with --tls-ca"));
        }
        return if path.starts_with('/') { Ok(address.clone()) } else { Err(malformed(address)) };
    }
    let (scheme, authority) = address.split_once("://").unwrap_or((if has_ca { "https" } else { "http" }, address));
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let has_port = authority.parse::<http::uri::Authority>().is_ok_and(|authority| authority.port_u16().is_some());
    match (scheme, has_ca) {
        // The attack: whoever sets the address takes the TLS away that the command asked for.
        ("http", true) => Err(format!("--address {address:?} must be HOST:PORT or https://HOST:PORT with --tls-ca")),
        ("https", false) => Err(format!("--address {address:?} needs --tls-ca, the CA to trust")),
        ("http" | "https", _) if has_port => Ok(format!("{scheme}://{authority}")),
        _ => Err(malformed(address)),
    }
}

/// With what the `--tls-…` options name.
fn secured(mut builder: Builder, server: &Server) -> Result<Builder, String> {
    let Some(ca) = &server.tls_ca else { return Ok(builder) };
    builder = builder.ca_certificate(pem::certificate("--tls-ca", ca)?);
    if let (Some(certificate), Some(key)) = (&server.tls_certificate, &server.tls_key) {
        let certificate = pem::certificate("--tls-certificate", certificate)?;
        builder = builder.identity(certificate, pem::private_key("--tls-key", key)?);
    }
    if let Some(name) = &server.tls_server_name {
        builder = builder.server_name(name);
    }
    Ok(builder)
}

/// Each file is a good one by itself.
fn unusable_tls(error: &dyn Error) -> String {
    let text = with_causes(error);
    if text.contains("consistent") {
        format!("--tls-certificate and --tls-key do not go together: give the key of that certificate ({text})")
    } else {
        format!("--tls-ca, --tls-certificate or --tls-server-name: {text}")
    }
}

/// The error and what it comes from, without repetitions.
fn with_causes(error: &dyn Error) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        let own = error.to_string();
        if !text.contains(&own) {
            text = format!("{text}: {own}");
        }
        cause = error.source();
    }
    text
}

const fn if_broken(server: &Server) -> &'static str {
    match (&server.tls_ca, &server.tls_certificate) {
        (None, _) => "the server broke the connection; if it speaks TLS, give --tls-ca",
        (Some(_), None) => {
            "the server broke the connection; if it asks for a client certificate, give --tls-certificate and --tls-key"
        }
        (Some(_), Some(_)) => "the server broke the connection; perhaps it does not accept --tls-certificate",
    }
}

/// The error, what it comes from, and the way out where it is known, or else what is `likely`.
fn with_hint(text: String, likely: Option<&str>) -> String {
    let hints = [
        ("UnknownIssuer", "the server's certificate is not of the CA in --tls-ca"),
        ("BadSignature", "the server's certificate is not of the CA in --tls-ca, but of another with its name"),
        ("not valid for name", "the server's certificate has another name: say which with --tls-server-name"),
        ("InvalidContentType", "the server does not speak TLS: leave --tls-ca out"),
        ("Connection refused", "nothing listens there"),
        ("No such file", "nothing listens there: there is no such socket"),
        ("Permission denied", "this user may not open the socket: see `listen_mode` and the socket's group"),
        ("frame with invalid size", "the server does not speak plaintext HTTP/2; if it speaks TLS, give --tls-ca"),
    ];
    let known = hints.into_iter().find(|(cause, _)| text.contains(cause)).map(|(_, hint)| hint);
    match known.or(likely) {
        Some(hint) => format!("{hint} ({text})"),
        None => text,
    }
}

/// The code and message, and one line for each violation or reason.
fn describe(error: &CallError) -> String {
    let refusal = error.refusal();
    let message = match (refusal.code, refusal.message.as_str()) {
        // The libraries of servers say nothing more.
        (Code::Unimplemented, "") => {
            "what listens there does not have this RPC; is it the probe port, or another service?"
        }
        (_, "") => "the server does not say why",
        (_, message) => message,
    };
    let mut text = format!("{:?}: {message}", refusal.code);
    if !error.violations().is_empty() {
        text = format!("{:?}: invalid request", refusal.code);
        for violation in error.violations() {
            // Writing to a String does not fail.
            let _ = write!(text, "\n{}: {}", violation.field, violation.rule);
        }
    }
    if !refusal.reason.is_empty() {
        let _ = write!(text, "\nreason: {}", refusal.reason);
    }
    text
}
