use super::*;
use crate::{
    application::testing::{NOW, audit, clock, record},
    domain::{
        caller::{Caller, CallerId, CallerName, Proof},
        secret::SharedSecret,
    },
};

fn ada() -> Subject {
    Subject {
        id: Some("7".to_owned()),
        email: "ada@example.com".parse().unwrap(),
        first_name: "Ada".to_owned(),
        last_name: "Lovelace".to_owned(),
    }
}

fn reloaded() -> Event<'static> {
    Event::Reloaded { what: "tls", succeeded: true, generation: 2 }
}

fn nothing() -> Record {
    Record { time: NOW, event: b"{}".to_vec() }
}

fn people(people: People) -> Audit {
    Audit::new(clock(), people, None).0
}

#[test]
fn people_are_named_as_configured_and_not_at_all_without_a_log() {
    let plain = people(People::Plain).person(&ada()).unwrap();
    let expected = (Name::Plain("ada@example.com".to_owned()), Some(Name::Plain("7".to_owned())));
    assert_eq!((plain.subject, plain.user_id), expected);
    let secret = SharedSecret::parse((*b"8f2b7c1d9e3a4056b8c7d2e1f0a9b3c4").into()).unwrap();
    let key = PseudonymKey::new(&secret);
    let expected = [key.pseudonym("email", "ada@example.com"), key.pseudonym("user_id", "7")].map(Name::Hashed);
    let hashed = people(People::Hashed(Box::new(key))).person(&ada()).unwrap();
    assert_eq!([hashed.subject, hashed.user_id.unwrap()], expected);
    assert!(Audit::off(clock()).person(&ada()).is_none());
}

#[tokio::test]
async fn a_record_says_what_happened_and_when() {
    let (audit, mut queue) = audit();
    audit.note(&reloaded());
    let event = r#"{"event":"reloaded","what":"tls","succeeded":true,"generation":2}"#;
    assert_eq!(audit.record(NOW, reloaded).unwrap(), Record { time: NOW, event: event.into() });
    let timed = event.replace('{', r#"{"time":"2023-11-14T22:13:20Z","#);
    assert_eq!(record(&mut queue).unwrap(), serde_json::from_str::<serde_json::Value>(&timed).unwrap());
    assert!(
        Audit::off(clock()).record(NOW, || unreachable!("without a log, nothing is put together for it")).is_none()
    );
}

/// What the writer says: written, not written, or nothing because it is gone.
#[tokio::test]
async fn a_token_leaves_only_once_its_record_is_written() {
    for (says, expected) in [(Some(true), Ok(())), (Some(false), Err(Unavailable)), (None, Err(Unavailable))] {
        let (audit, mut queue) = audit();
        let writer = async {
            match queue.entries.recv().await.unwrap() {
                Entry::Record { record, written } => {
                    assert_eq!(record, nothing());
                    if let Some(is_written) = says {
                        written.unwrap().send(is_written).unwrap();
                    }
                }
                Entry::Close(_) => panic!("nobody closed it"),
            }
        };
        // The queue ends with the audit, so that a writer that is never asked does not wait for ever.
        let commit = async move { audit.commit(Some(nothing())).await };
        let (committed, ()) = tokio::join!(commit, writer);
        assert_eq!(committed, expected, "{says:?}");
    }
    let (audit, queue) = audit();
    drop(queue);
    assert_eq!(audit.commit(Some(nothing())).await, Err(Unavailable));
    assert_eq!(Audit::off(clock()).commit(None).await, Ok(()));
}

#[tokio::test]
async fn a_write_that_hangs_is_waited_for_no_longer_than_told() {
    let (audit, _queue) = Audit::new(clock(), People::Plain, Some(Duration::from_millis(1)));
    assert_eq!(audit.commit(Some(nothing())).await, Err(Unavailable));
}

#[test]
fn strangers_cannot_fill_the_log_and_those_who_are_listed_are_all_recorded() {
    let (audit, mut queue) = audit();
    let stranger = Caller::new(CallerId::Proven("web.shop".parse().unwrap()), Proof::Mtls);
    let listed: CallerName = "shop".parse().unwrap();
    for (name, most) in [(None, 120), (Some(&listed), 300)] {
        for _ in 0..300 {
            audit.note(&Event::StatusDenied { by: By::new(&stranger, name), instance: "main", reason: "NO_GRANT" });
        }
        let recorded = std::iter::from_fn(|| record(&mut queue)).count();
        assert!((100..=most).contains(&recorded), "{name:?}: {recorded}");
        let lost = queue.lost.swap(0, Ordering::Relaxed);
        assert_eq!(lost + u64::try_from(recorded).unwrap(), 300);
    }
}

#[test]
fn what_finds_no_room_is_counted() {
    let (audit, queue) = audit();
    for _ in 0..=QUEUE {
        audit.note(&reloaded());
    }
    assert_eq!((queue.entries.len(), queue.lost.load(Ordering::Relaxed)), (QUEUE, 1));
}

#[tokio::test]
async fn closing_waits_for_the_writer_and_tells_what_is_missing() {
    for (missing, expected) in [(0, Ok(())), (3, Err(Unclosed::Missing(3)))] {
        let (audit, mut queue) = audit();
        audit.note(&reloaded());
        let writer = async {
            assert!(record(&mut queue).is_some());
            match queue.entries.recv().await {
                Some(Entry::Close(closed)) => closed.send(missing).unwrap(),
                other => panic!("{other:?}"),
            }
        };
        let (closed, ()) = tokio::join!(audit.close(), writer);
        assert_eq!(closed, expected);
    }
}

#[tokio::test]
async fn closing_does_not_wait_for_a_writer_that_is_gone() {
    let (audit, queue) = audit();
    drop(queue);
    assert_eq!(audit.close().await, Ok(()));
}

#[test]
fn whoever_is_none_of_the_callers_is_a_stranger() {
    let caller = Caller::new(CallerId::Proven("web.shop".parse().unwrap()), Proof::Mtls);
    let listed: CallerName = "shop".parse().unwrap();
    for (name, is_stranger) in [(None, true), (Some(&listed), false)] {
        let by = || By::new(&caller, name);
        assert_eq!(Event::StatusDenied { by: by(), instance: "main", reason: "" }.is_by_a_stranger(), is_stranger);
    }
    assert!(
        Event::IdentityRefused { request_id: None, reason: "" }.is_by_a_stranger() && !reloaded().is_by_a_stranger()
    );
}
