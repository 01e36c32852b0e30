//! `[server.limits]` and `[server.drain]`: what is too much, and how the server ends.

use std::time::Duration;

/// `[server.limits]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// RPCs being answered at once, of each of the service's two kinds: status checks that wait for Metabase take no room
    /// from issuing.
    pub max_in_flight: usize,
    /// Connections of the gRPC listener, those in their TLS handshake included.
    pub max_connections: usize,
    /// RPCs that one connection may have in flight.
    pub max_streams_per_connection: u32,
    /// Longest time that an RPC may take; a shorter `grpc-timeout` of the caller counts.
    pub deadline: Duration,
    /// For a request's message to arrive, after its headers.
    pub body_timeout: Duration,
    /// Between two pings of a connection.
    pub keepalive_interval: Duration,
    /// For the answer to a ping; after it the connection is closed.
    pub keepalive_timeout: Duration,
    /// How long a connection may have no RPC in flight; none = for ever.
    pub idle_timeout: Option<Duration>,
    /// After this, a tenth more or less, a connection is asked to leave; none = never.
    pub max_connection_age: Option<Duration>,
    /// For what is in flight on a connection that was asked to leave.
    pub max_connection_age_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_in_flight: 1000,
            max_connections: 4096,
            max_streams_per_connection: 256,
            deadline: Duration::from_secs(10),
            body_timeout: Duration::from_secs(2),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
            idle_timeout: Some(Duration::from_mins(15)),
            max_connection_age: Some(Duration::from_mins(30)),
            max_connection_age_grace: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// Those of the probe listener, which anyone can reach: probes are few, and leave when they have been answered.
    pub const PROBES: Self = Self {
        max_in_flight: 0,
        max_connections: 256,
        max_streams_per_connection: 16,
        deadline: Duration::from_secs(10),
        body_timeout: Duration::from_secs(2),
        keepalive_interval: Duration::from_secs(30),
        keepalive_timeout: Duration::from_secs(10),
        idle_timeout: Some(Duration::from_mins(1)),
        // So that nobody who holds all of them keeps the real probes out for long.
        max_connection_age: Some(Duration::from_secs(30)),
        max_connection_age_grace: Duration::from_secs(1),
    };
}

/// `[server.drain]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// After readiness has turned, before connections are asked to leave: so that load balancers get to know.
    pub announce_delay: Duration,
    /// After that, for what is in flight.
    pub grace_period: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self { announce_delay: Duration::from_secs(5), grace_period: Duration::from_secs(10) }
    }
}

impl Drain {
    /// For a server that no load balancer knows.
    #[must_use]
    pub fn unannounced() -> Self {
        Self { announce_delay: Duration::ZERO, ..Self::default() }
    }
}
