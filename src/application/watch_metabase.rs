//! Looks at every Metabase instance again and again: whether it holds our secret, which one during a rotation, and how its clock
//! goes. Nothing here holds up a request.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    Clock,
    agreement::{Seen, State},
    audit::{Audit, Event},
    generation::{Generation, Generations, InstanceWithKey},
    metabase::{self, Http, Refused, Unreachable},
    signing_key::SigningKey,
};
use crate::domain::{instance::InstanceName, rotation::Evidence};

/// For one question to Metabase. A look asks at most twice, both at once.
const PATIENCE: Duration = Duration::from_secs(5);
/// For all of the first looks.
const PATIENCE_AT_START: Duration = Duration::from_secs(2);
/// Between looks during a rotation, unless less is configured.
const PERIOD_IN_ROTATION: Duration = Duration::from_secs(5);

/// What was seen of an instance, for health and metrics.
#[derive(Debug)]
pub struct Report {
    /// Which.
    pub instance: InstanceName,
    /// What.
    pub seen: Seen,
}

/// Looks once at every instance in a rotation, so that a service that is started in the midst of one signs with the right
/// secret from its first token on; no longer than it is worth to wait for a Metabase that does not answer.
pub async fn settle_rotations(generation: &Generation, clock: &dyn Clock, audit: &Audit) {
    let rotating = generation.instances().filter(|one| one.keys.next().is_some());
    let rotating = rotating.filter_map(|one| Some((one, one.live.as_ref()?)));
    let looks = rotating.map(|(one, live)| async move {
        let seen = look(one, live.http(), clock).await;
        tell(&one.instance.name, None, &seen, audit);
    });
    let _ = timeout(PATIENCE_AT_START, join_all(looks)).await;
}

/// Looks for ever, at the instances of whichever generation is in force.
pub async fn watch_metabase(
    generations: Arc<Generations>,
    clock: Arc<dyn Clock>,
    audit: Arc<Audit>,
    reports: mpsc::UnboundedSender<Report>,
) {
    let mut changes = generations.changes();
    loop {
        changes.mark_unchanged();
        let generation = generations.current_owned();
        let mut looking: JoinSet<()> = generation
            .instances()
            .map(|one| {
                let name = one.instance.name.clone();
                let (clock, audit) = (Arc::clone(&clock), Arc::clone(&audit));
                watch_instance(Arc::clone(&generation), name, clock, audit, reports.clone())
            })
            .collect();
        tokio::select! {
            result = changes.changed() => if result.is_err() { return },
            // None of them ends but those of instances that are not looked at.
            () = async { while looking.join_next().await.is_some() {} std::future::pending().await } => {}
        }
    }
}

async fn watch_instance(
    generation: Arc<Generation>,
    name: InstanceName,
    clock: Arc<dyn Clock>,
    audit: Arc<Audit>,
    reports: mpsc::UnboundedSender<Report>,
) {
    let Some(one) = generation.instance_named(&name) else { return };
    let (Some(live), Some(interval)) = (&one.live, one.probe_interval) else { return };
    let period = if one.keys.next().is_some() { interval.min(PERIOD_IN_ROTATION) } else { interval };
    loop {
        let before = one.keys.seen();
        let seen = look(one, live.http(), &*clock).await;
        tell(&name, before.as_deref(), &seen, &audit);
        // Nobody listens any more: the service ends.
        if reports.send(Report { instance: name.clone(), seen }).is_err() {
            return;
        }
        sleep(jittered(period)).await;
    }
}

/// One look at an instance.
pub async fn look(one: &InstanceWithKey, http: &dyn Http, clock: &dyn Clock) -> Seen {
    let (current, next) = tokio::join!(ask(http, one.keys.current()), async {
        match one.keys.next() {
            Some(next) => Some(ask(http, next).await),
            None => None,
        }
    });
    let now = clock.now();
    let skew = current.1.or(next.and_then(|(_, date)| date)).map(|theirs| theirs.saturating_sub(now.seconds()));
    one.keys.observe(now, evidence(current.0), next.map(|(refused, _)| evidence(refused)), current.0, skew)
}

async fn ask(http: &dyn Http, key: &SigningKey) -> (Refused, Option<i64>) {
    let probe = key.probe();
    let asked = timeout(PATIENCE, metabase::probe(http, probe.expose())).await;
    asked.unwrap_or((LATE.into(), None))
}

const LATE: Unreachable = Unreachable { what: "does not answer in time" };

const fn evidence(refused: Refused) -> Evidence {
    if matches!(refused, Refused::Expired) {
        Evidence::Proven
    } else if matches!(refused, Refused::Corrupt) {
        Evidence::Disproved
    } else {
        Evidence::Unknown
    }
}

/// Says what is new.
fn tell(name: &InstanceName, before: Option<&Seen>, seen: &Seen, audit: &Audit) {
    if before.is_some_and(|before| (before.state, before.signing) == (seen.state, seen.signing)) {
        return;
    }
    let signing = seen.signing.as_str();
    audit.note(&Event::RotationStep { instance: name.as_str(), signing, agreement: seen.state.as_str() });
    if before.is_some_and(|before| before.signing != seen.signing) {
        tracing::info!(instance = %name, signing, "Another secret signs from now on: Metabase has been changed to it");
    }
    match seen.state {
        State::Agrees => tracing::info!(instance = %name, signing, "{}", seen.state),
        State::Disagrees => tracing::error!(instance = %name, signing, "{}", seen.state),
        State::Unknown(_) => tracing::warn!(instance = %name, signing, "{}", seen.state),
    }
}

/// Up to a tenth more or less, so that not everything happens at once.
#[must_use]
pub fn jittered(period: Duration) -> Duration {
    let mut random = [0];
    // Without randomness they do.
    let _ = aws_lc_rs::rand::fill(&mut random);
    period.mul_f64(0.9 + f64::from(random[0]) / 255.0 * 0.2)
}

#[cfg(test)]
mod tests;
