use super::*;
use crate::{
    application::{
        agreement::Keys,
        audit::Queue,
        testing::{
            self, GONE, Metabase, NEXT_SECRET, NOW, SECRET, answer, audit, clock, dated, instance, question, record,
            with_key,
        },
    },
    domain::{policy::Policy, rotation::Which},
};

const EXPIRED: &str = "Token is expired";
const CORRUPT: &str = "Message seems corrupt or manipulated";

fn one(metabase: &Arc<Metabase>, next: bool) -> InstanceWithKey {
    let next = next.then(|| SigningKey::from_bytes(NEXT_SECRET));
    let keys = Keys::new(SigningKey::from_bytes(SECRET), next);
    InstanceWithKey { keys, live: Some(testing::live(metabase)), ..with_key(instance("main")) }
}

fn told(queue: &mut Queue) -> Vec<[String; 3]> {
    std::iter::from_fn(|| record(queue))
        .map(|record| ["event", "signing", "agreement"].map(|key| record[key].as_str().unwrap().to_owned()))
        .collect()
}

#[tokio::test]
async fn a_look_asks_about_every_secret() {
    for (current, next, state, signing) in [
        (EXPIRED, None, State::Agrees, Which::Current),
        (CORRUPT, None, State::Disagrees, Which::Current),
        ("?", None, State::Unknown(Refused::Unknown(401)), Which::Current),
        (CORRUPT, Some(EXPIRED), State::Agrees, Which::Next),
        (EXPIRED, Some(CORRUPT), State::Agrees, Which::Current),
    ] {
        let script = [
            (question(SECRET), dated(7, answer(401, current))),
            (question(NEXT_SECRET), dated(9, answer(401, next.unwrap_or_default()))),
        ];
        let metabase = Metabase::new(script);
        let seen = look(&one(&metabase, next.is_some()), &*metabase, &*clock()).await;
        assert_eq!(seen, Seen { at: NOW, state, signing, skew: Some(7) });
        assert_eq!(metabase.asked().len(), 1 + usize::from(next.is_some()));
    }
    let gone = Metabase::new([]);
    let seen = look(&one(&gone, false), &*gone, &*clock()).await;
    assert_eq!((seen.state, seen.skew), (State::Unknown(GONE.into()), None));
}

#[tokio::test]
async fn a_service_that_starts_amid_a_rotation_signs_with_the_secret_that_metabase_holds() {
    let script = || [(question(SECRET), answer(401, CORRUPT)), (question(NEXT_SECRET), answer(401, EXPIRED))];
    let (metabase, untouched, (audit, mut queue)) = (Metabase::new(script()), Metabase::new(script()), audit());
    let other = InstanceWithKey { instance: Arc::new(instance("other")), ..one(&untouched, false) };
    let generation = Generation::new(vec![one(&metabase, true), other], Policy::default());
    settle_rotations(&generation, &*clock(), &audit).await;
    let signs = generation.instance_named(&"main".parse().unwrap()).unwrap().keys.which_signs();
    assert_eq!((signs, untouched.asked().len()), (Which::Next, 0));
    assert_eq!(told(&mut queue), [["rotation_step", "next_shared_secret", "agrees"]]);
}

/// Looks come every millisecond; none at all is a failure, and not a reason to wait for ever.
async fn next(seen: &mut mpsc::UnboundedReceiver<Report>) -> Report {
    timeout(Duration::from_secs(30), seen.recv()).await.unwrap().unwrap()
}

#[tokio::test]
async fn what_is_looked_at_again_and_again_is_what_is_configured_so() {
    let metabase = Metabase::new([("POST", answer(401, EXPIRED))]);
    let watched = |name: &str, interval| InstanceWithKey {
        instance: Arc::new(instance(name)),
        probe_interval: interval,
        ..one(&metabase, false)
    };
    let interval = Some(Duration::from_millis(1));
    let nowhere = InstanceWithKey { live: None, ..watched("nowhere", interval) };
    let instances = vec![watched("main", interval), watched("unwatched", None), nowhere];
    let generations = Arc::new(Generations::new(Generation::new(instances, Policy::default())));
    let ((audit, mut queue), (reports, mut seen)) = (audit(), mpsc::unbounded_channel());
    let watch = tokio::spawn(watch_metabase(Arc::clone(&generations), clock(), audit, reports));
    for _ in 0..3 {
        let report = next(&mut seen).await;
        assert_eq!((report.instance.as_str(), report.seen.state), ("main", State::Agrees));
    }
    // Only what is new is recorded.
    assert_eq!(told(&mut queue), [["rotation_step", "shared_secret", "agrees"]]);
    // A reload is followed, and what is not configured any more is not looked at.
    generations.replace(Generation::new(vec![watched("other", interval)], Policy::default()));
    while next(&mut seen).await.instance.as_str() != "other" {}
    for _ in 0..3 {
        assert_eq!(next(&mut seen).await.instance.as_str(), "other");
    }
    watch.abort();
}

#[test]
fn only_what_is_new_is_recorded() {
    let seen = |state, signing| Seen { at: NOW, state, signing, skew: None };
    let before = seen(State::Agrees, Which::Current);
    for (before, after, is_new) in [
        (None, before, true),
        (Some(before), Seen { at: NOW.plus_seconds(9), skew: Some(1), ..before }, false),
        (Some(before), seen(State::Disagrees, Which::Current), true),
        (Some(before), seen(State::Agrees, Which::Next), true),
    ] {
        let (audit, mut queue) = audit();
        tell(&instance("main").name, before.as_ref(), &after, &audit);
        let expected = [["rotation_step", after.signing.as_str(), after.state.as_str()]];
        assert_eq!(told(&mut queue), expected[..usize::from(is_new)]);
    }
}

#[test]
fn looks_are_spread_by_a_tenth_around_the_period() {
    let pauses: Vec<f64> = (0..200).map(|_| jittered(Duration::from_secs(100)).as_secs_f64()).collect();
    assert!(pauses.iter().all(|pause| (90.0..=110.0).contains(pause)), "{pauses:?}");
    // All on one side by chance: in one case of 2^199.
    assert!(pauses.iter().any(|pause| *pause < 100.0) && pauses.iter().any(|pause| *pause > 100.0), "{pauses:?}");
}
