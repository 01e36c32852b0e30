//! Metrics of RPCs: how many, how long, and what was decided on requests for tokens.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::RPCS;

/// The metrics of RPCs.
#[derive(Debug)]
pub struct Rpcs {
    ended: Family<RpcLabels, Counter>,
    duration: Family<MethodLabels, Histogram>,
    in_flight: Gauge,
    decisions: Family<DecisionLabels, Counter>,
    usual: Usual,
}

/// What nearly every request counts, so that it is not looked for again with each.
#[derive(Debug)]
struct Usual {
    /// With OK, and how long it took, of each of [`RPCS`].
    ended: [(Counter, Histogram); RPCS.len()],
    issued: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RpcLabels {
    method: &'static str,
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabels {
    method: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DecisionLabels {
    outcome: &'static str,
    reason: &'static str,
}

/// Seconds. An issue takes tens of microseconds; what waits for something takes milliseconds.
const DURATION_BUCKETS: [f64; 12] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5];
const OK: &str = "OK";

impl Rpcs {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let ended = Family::<RpcLabels, Counter>::default();
        registry.register("rpcs", "RPCs answered, by method and gRPC code", ended.clone());
        let duration = Family::<MethodLabels, Histogram>::new_with_constructor(|| Histogram::new(DURATION_BUCKETS));
        let help = "Time from the head of a request to the head of its answer";
        registry.register_with_unit("rpc_duration", help, Unit::Seconds, duration.clone());
        let in_flight = Gauge::default();
        registry.register("rpcs_in_flight", "RPCs of the service being answered", in_flight.clone());
        let decisions = Family::<DecisionLabels, Counter>::default();
        let help = "Decisions on IssueMetabaseToken: outcome issued, denied or refused, with the reason";
        registry.register("decisions", help, decisions.clone());
        let usual = Usual {
            ended: RPCS.map(|method| {
                let answered = ended.get_or_create(&RpcLabels { method, code: OK }).clone();
                (answered, duration.get_or_create(&MethodLabels { method }).clone())
            }),
            issued: decisions.get_or_create(&DecisionLabels { outcome: "issued", reason: "" }).clone(),
        };
        Self { ended, duration, in_flight, decisions, usual }
    }

    /// Counts an RPC from now on until [`Rpcs::ended`].
    pub fn began(&self, method: &'static str) {
        if RPCS.contains(&method) {
            self.in_flight.inc();
        }
    }

    /// RPCs of the service being answered: nobody loses anything by a probe that is cut off.
    #[must_use]
    pub fn in_flight(&self) -> i64 {
        self.in_flight.get()
    }

    /// Counts an RPC that was answered, or given up by the client.
    pub fn ended(&self, method: &'static str, code: &'static str, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let of_the_service = RPCS.iter().zip(&self.usual.ended).find(|(rpc, _)| **rpc == method);
        if let Some((_, (answered, durations))) = of_the_service {
            self.in_flight.dec();
            durations.observe(seconds);
            if code == OK {
                answered.inc();
                return;
            }
        } else {
            self.duration.get_or_create(&MethodLabels { method }).observe(seconds);
        }
        self.ended.get_or_create(&RpcLabels { method, code }).inc();
    }

    /// Counts a token.
    pub fn issued(&self) {
        self.usual.issued.inc();
    }

    /// Counts a request for a token that was `denied` or `refused`.
    pub fn not_issued(&self, outcome: &'static str, reason: &'static str) {
        self.decisions.get_or_create(&DecisionLabels { outcome, reason }).inc();
    }
}
