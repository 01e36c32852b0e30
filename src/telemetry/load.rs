//! Metrics of load: connections and how they end, handshakes, refusals for lack of room, callers, certificates.

use std::{collections::BTreeMap, sync::atomic::AtomicU64};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionEnd {
    /// The server asked it to leave because of its age.
    Age,
    /// The client left, or the connection broke.
    Client,
    /// The server asked it to leave because the server is leaving.
    Drain,
    /// The server asked it to leave because no RPC came.
    Idle,
    /// The server cut it off because the client did not take its answers.
    Untaken,
}

impl ConnectionEnd {
    /// The value of the label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Client => "client",
            Self::Drain => "drain",
            Self::Idle => "idle",
            Self::Untaken => "untaken",
        }
    }
}

/// What became of a TLS handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// Refused by either side.
    Failed,
    /// Done.
    Succeeded,
    /// Not done in time.
    TimedOut,
}

impl Handshake {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Succeeded => "succeeded",
            Self::TimedOut => "timed_out",
        }
    }
}

/// RPCs that may be shed, as labels.
pub const RPCS: [&str; 2] = [
    "metabase.token.v1.MetabaseTokenService/IssueMetabaseToken",
    "metabase.token.v1.MetabaseTokenService/CheckAuthStatus",
];
/// Listeners, as labels.
const LISTENERS: [&str; 2] = ["grpc", "probe"];

/// The metrics of load.
#[derive(Debug)]
pub struct Load {
    caller_rpcs: Family<CallerLabels, Counter>,
    rpcs_shed: Family<MethodLabels, Counter>,
    connections: Family<ListenerLabels, Gauge>,
    connections_refused: Family<ListenerLabels, Counter>,
    connections_ended: Family<EndLabels, Counter>,
    tls_handshakes: Family<OutcomeLabels, Counter>,
    certificate_expiry: Family<FileLabels, Gauge<f64, AtomicU64>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallerLabels {
    caller: String,
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabels {
    method: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabels {
    listener: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabels {
    listener: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FileLabels {
    file: &'static str,
}

impl Load {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let caller_rpcs = Family::default();
        let help =
            "RPCs of the service, by configured caller and gRPC code; unknown = nobody proven, other = not configured";
        registry.register("caller_rpcs", help, caller_rpcs.clone());
        let rpcs_shed = Family::default();
        registry.register("rpcs_shed", "RPCs refused because too many were in flight", rpcs_shed.clone());
        let connections = Family::default();
        registry.register("connections", "Open connections, by listener", connections.clone());
        let connections_refused = Family::default();
        let help = "Connections closed at once because too many were open";
        registry.register("connections_refused", help, connections_refused.clone());
        let connections_ended = Family::default();
        let help = "Connections that ended: by their age, idle, in the drain, with answers untaken, or by the client";
        registry.register("connections_ended", help, connections_ended.clone());
        let tls_handshakes = Family::default();
        registry.register("tls_handshakes", "TLS handshakes, by outcome", tls_handshakes.clone());
        let certificate_expiry = Family::default();
        let help = "When the first certificate in a TLS file expires, in seconds since 1970";
        registry.register_with_unit("certificate_expiry_timestamp", help, Unit::Seconds, certificate_expiry.clone());
        let load = Self {
            caller_rpcs,
            rpcs_shed,
            connections,
            connections_refused,
            connections_ended,
            tls_handshakes,
            certificate_expiry,
        };
        load.begin();
        load
    }

    /// From 0 on: the rate of a counter that is born with its first event misses that event.
    fn begin(&self) {
        for method in RPCS {
            drop(self.rpcs_shed.get_or_create(&MethodLabels { method }));
        }
        for listener in LISTENERS {
            drop(self.connections.get_or_create(&ListenerLabels { listener }));
            drop(self.connections_refused.get_or_create(&ListenerLabels { listener }));
            let ends = [
                ConnectionEnd::Age,
                ConnectionEnd::Client,
                ConnectionEnd::Drain,
                ConnectionEnd::Idle,
                ConnectionEnd::Untaken,
            ];
            for end in ends {
                drop(self.connections_ended.get_or_create(&EndLabels { listener, reason: end.as_str() }));
            }
        }
        for outcome in [Handshake::Failed, Handshake::Succeeded, Handshake::TimedOut] {
            drop(self.tls_handshakes.get_or_create(&OutcomeLabels { outcome: outcome.as_str() }));
        }
    }

    /// Counts an RPC of a caller, which is a name of the configuration, `unknown` or `other`.
    pub fn caller_rpc(&self, caller: &str, code: &'static str) {
        self.caller_rpcs.get_or_create(&CallerLabels { caller: caller.to_owned(), code }).inc();
    }

    /// Counts an RPC that was refused because too many were in flight.
    pub fn rpc_shed(&self, method: &'static str) {
        self.rpcs_shed.get_or_create(&MethodLabels { method }).inc();
    }

    /// Counts a connection from now on until [`Load::connection_ended`].
    pub fn connection_began(&self, listener: &'static str) {
        self.connections.get_or_create(&ListenerLabels { listener }).inc();
    }

    /// Counts a connection that has ended.
    pub fn connection_ended(&self, listener: &'static str, end: ConnectionEnd) {
        self.connections.get_or_create(&ListenerLabels { listener }).dec();
        self.connections_ended.get_or_create(&EndLabels { listener, reason: end.as_str() }).inc();
    }

    /// Counts a connection that was closed at once.
    pub fn connection_refused(&self, listener: &'static str) {
        self.connections_refused.get_or_create(&ListenerLabels { listener }).inc();
    }

    /// Counts a TLS handshake.
    pub fn handshake(&self, outcome: Handshake) {
        self.tls_handshakes.get_or_create(&OutcomeLabels { outcome: outcome.as_str() }).inc();
    }

    /// Tells when the first certificate of each TLS file expires, in seconds since 1970.
    pub fn certificates(&self, expiries: &BTreeMap<&'static str, i64>) {
        for (file, expiry) in expiries {
            #[expect(clippy::cast_precision_loss, reason = "exact for the next hundred million years")]
            self.certificate_expiry.get_or_create(&FileLabels { file }).set(*expiry as f64);
        }
    }
}
