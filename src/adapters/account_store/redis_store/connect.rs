//! Connections to Redis: one server or a cluster, with TLS, and an ACL user. Password and CAs are read anew for every connection, so that
//! both can be changed without a restart.

use std::{path::Path, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, FromRedisValue, IntoConnectionInfo as _,
    RedisConnectionInfo, RedisError, TlsCertificates,
    aio::{ConnectionLike as _, MultiplexedConnection},
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
    io::tcp::TcpSettings,
};

use super::super::AccountStoreError;
use crate::{
    adapters::secret_sources,
    config::{RedisConfig, RedisUrl},
    regular_file,
};

/// Bytes of a file of CAs.
const MAX_CA_BYTES: usize = 1024 * 1024;
/// For a connection with its TLS handshake and its sign-in; also for an answer, after which the library forgets the question.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// Commands on their way to the socket.
const PIPELINE: usize = 1024;
/// Of many questions each: one is on its way there, one is being answered, one is on its way back, and one is being sent.
const BATCHES: usize = 4;

/// Questions of many go over one connection, in order. Clones share it.
#[derive(Clone)]
pub(super) enum Connection {
    Cluster(Box<ClusterConnection>),
    Single(MultiplexedConnection),
}

impl Connection {
    /// Questions that one command may ask: in a cluster all keys of a command are on one node.
    pub(super) const fn most_at_once(&self) -> usize {
        match self {
            Self::Cluster(_) => 1,
            Self::Single(_) => usize::MAX,
        }
    }

    /// Commands that may be without an answer. While there are more, questions gather.
    pub(super) const fn most_on_their_way(&self) -> usize {
        match self {
            Self::Cluster(_) => PIPELINE,
            Self::Single(_) => BATCHES,
        }
    }

    pub(super) async fn query<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, RedisError> {
        let value = match self {
            Self::Cluster(connection) => connection.req_packed_command(command).await?,
            Self::Single(connection) => connection.req_packed_command(command).await?,
        };
        Ok(redis::from_redis_value(value.extract_error()?)?)
    }
}

/// Ready to connect.
enum Ready {
    Cluster(Box<ClusterClient>),
    Single(Box<Client>),
}

/// Reads the files, and connects to nobody.
///
/// # Errors
/// They cannot be used.
pub(in crate::adapters::account_store) fn check(config: &RedisConfig) -> Result<(), AccountStoreError> {
    prepare(config).map(drop)
}

fn prepare(config: &RedisConfig) -> Result<Ready, AccountStoreError> {
    let password = config.password.as_ref().map(|(source, _)| secret_sources::load_password(source));
    let password = password.transpose().map_err(AccountStoreError::Password)?.map(|(password, _)| password);
    let ca = config.ca.as_deref().map(read_ca).transpose()?;
    let failed = |error: RedisError| AccountStoreError::Client(error.to_string());
    let tcp = TcpSettings::default().set_nodelay(true);
    let mut redis = RedisConnectionInfo::default();
    if let Some(username) = &config.username {
        redis = redis.set_username(username);
    }
    if let Some(password) = &password {
        redis = redis.set_password(password.expose());
    }
    let mut nodes = Vec::with_capacity(config.urls.len());
    for url in &config.urls {
        let info = address(url).into_connection_info().map_err(failed)?;
        nodes.push(info.set_redis_settings(redis.clone()).set_tcp_settings(tcp.clone()));
    }
    let certificates = ca.map(|pem| TlsCertificates { client_tls: None, root_cert: Some(pem) });
    if config.cluster {
        return cluster(nodes, certificates, tcp).map(|client| Ready::Cluster(Box::new(client))).map_err(failed);
    }
    let Some(only) = nodes.pop() else { return Err(AccountStoreError::Client("no URL".to_owned())) };
    match certificates {
        Some(certificates) => Client::build_with_tls(only, certificates),
        None => Client::open(only),
    }
    .map(|client| Ready::Single(Box::new(client)))
    .map_err(failed)
}

/// Retries are the caller's, who has a budget; only a slot that has moved is followed.
fn cluster(
    nodes: Vec<ConnectionInfo>,
    certificates: Option<TlsCertificates>,
    tcp: TcpSettings,
) -> Result<ClusterClient, RedisError> {
    let mut builder = ClusterClient::builder(nodes)
        .tcp_settings(tcp)
        .retries(1)
        .min_retry_wait(1)
        .max_retry_wait(5)
        .connection_timeout(PATIENCE)
        .response_timeout(PATIENCE);
    if let Some(certificates) = certificates {
        builder = builder.certs(certificates);
    }
    builder.build()
}

fn address(RedisUrl { host, port, is_tls }: &RedisUrl) -> ConnectionAddr {
    if *is_tls {
        ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host.clone(), *port)
    }
}

fn read_ca(path: &Path) -> Result<Vec<u8>, AccountStoreError> {
    let failed = |error: String| AccountStoreError::Ca(format!("{}: {error}", path.display()));
    let pem = regular_file::read(path, MAX_CA_BYTES).map_err(|error| failed(error.to_string()))?;
    // The library takes a file without a certificate for one that trusts nobody.
    if !pem.windows(27).any(|window| window == b"-----BEGIN CERTIFICATE-----") {
        return Err(failed("holds no certificate in PEM form".to_owned()));
    }
    Ok(pem.to_vec())
}

/// Connects and signs in.
///
/// # Errors
/// Why not, in one sentence without a full stop. Holds no secret.
pub(super) async fn connect(config: &RedisConfig) -> Result<Connection, String> {
    let own = config.clone();
    // Beside the serving threads: a file system that hangs holds up nobody.
    let ready = tokio::task::spawn_blocking(move || prepare(&own)).await.map_err(|error| error.to_string())?;
    match ready.map_err(|error| error.to_string())? {
        Ready::Cluster(client) => {
            let connection = client.get_async_connection().await;
            connection.map(|connection| Connection::Cluster(Box::new(connection)))
        }
        Ready::Single(client) => {
            let settings = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(PATIENCE))
                .set_response_timeout(Some(PATIENCE))
                .set_pipeline_buffer_size(PIPELINE);
            client.get_multiplexed_async_connection_with_config(&settings).await.map(Connection::Single)
        }
    }
    .map_err(|error| error.to_string())
}
