//! Publishes what is seen of every Metabase: to health and to metrics.

use std::{collections::HashSet, sync::Arc};

use tokio::sync::mpsc;

use crate::{
    application::{
        agreement::{Seen, State},
        generation::{Generations, InstanceWithKey},
        watch_metabase::Report,
    },
    domain::{instance::InstanceName, rotation::Which},
    telemetry::Metrics,
    transport::health::Health,
};

/// Publishes reports for ever, and forgets instances that are not looked at any more.
pub(crate) async fn publish(
    mut reports: mpsc::UnboundedReceiver<Report>,
    generations: Arc<Generations>,
    mut health: Health,
    metrics: Arc<Metrics>,
) {
    let mut published: HashSet<InstanceName> = HashSet::new();
    let mut changes = generations.changes();
    loop {
        tokio::select! {
            report = reports.recv() => {
                let Some(Report { instance, seen }) = report else { return };
                tell(&health, &metrics, &instance, &seen).await;
                published.insert(instance);
            }
            result = changes.changed() => if result.is_err() { return },
        }
        // A report may have been under way when its instance went.
        let generation = generations.current_owned();
        let is_gone = |name: &InstanceName| !generation.instance_named(name).is_some_and(InstanceWithKey::is_looked_at);
        for name in published.extract_if(is_gone).collect::<Vec<_>>() {
            health.forget_metabase(name.as_str()).await;
            metrics.metabase_forgotten(name.as_str());
        }
    }
}

async fn tell(health: &Health, metrics: &Metrics, instance: &InstanceName, seen: &Seen) {
    health.metabase(instance.as_str(), seen.state == State::Agrees).await;
    let states = [("agrees", State::Agrees), ("disagrees", State::Disagrees)];
    let [agrees, disagrees] = states.map(|(name, state)| (name, seen.state == state));
    let unknown = ("unknown", matches!(seen.state, State::Unknown(_)));
    let secrets = [Which::Current, Which::Next].map(|which| (which.as_str(), seen.signing == which));
    metrics.metabase_seen(instance.as_str(), seen.at.seconds(), [agrees, disagrees, unknown], secrets, seen.skew);
}
