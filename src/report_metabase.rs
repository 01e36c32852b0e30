//! Publishes what is seen of every Metabase: to health and to metrics.

use std::{collections::HashSet, sync::Arc};

use tokio::sync::mpsc;

use crate::{
    application::{agreement::State, generation::Generations, watch_metabase::Report},
    domain::{instance::InstanceName, rotation::Which},
    telemetry::Metrics,
    transport::health::Health,
};

/// Publishes reports for ever, and forgets instances that are not configured any more.
pub(crate) async fn publish(
    mut reports: mpsc::UnboundedReceiver<Report>,
    generations: Arc<Generations>,
    mut health: Health,
    metrics: Arc<Metrics>,
) {
    let mut published: HashSet<InstanceName> = HashSet::new();
    while let Some(Report { instance, seen }) = reports.recv().await {
        health.metabase(instance.as_str(), seen.state == State::Agrees).await;
        let states = [("agrees", State::Agrees), ("disagrees", State::Disagrees)];
        let [agrees, disagrees] = states.map(|(name, state)| (name, seen.state == state));
        let unknown = ("unknown", matches!(seen.state, State::Unknown(_)));
        let secrets = [Which::Current, Which::Next].map(|which| (which.as_str(), seen.signing == which));
        metrics.metabase_seen(instance.as_str(), seen.at.seconds(), [agrees, disagrees, unknown], secrets, seen.skew);
        published.insert(instance);
        let generation = generations.current_owned();
        let gone: Vec<_> = published.extract_if(|name| generation.instance_named(name).is_none()).collect();
        for name in gone {
            health.forget_metabase(name.as_str()).await;
            metrics.metabase_forgotten(name.as_str());
        }
    }
}
