//! What the use cases need, without a server: a clock that stands, a Metabase that answers by a script, an instance, a request.

use std::{
    pin::pin,
    sync::{Arc, Mutex},
};

use super::{
    Clock,
    agreement::Keys,
    audit::{Audit, Entry, PATIENCE, People, Queue, time},
    generation::{Generation, Generations, InstanceWithKey},
    live::LiveInstance,
    metabase::{Answer, BoxFuture, Http, Method, Request, Unreachable},
    signing_key::SigningKey,
};
use crate::domain::{
    caller::{Caller, CallerId, Proof},
    grant::Grant,
    instance::Instance,
    policy::{Decision, Denial, Permit, Policy},
    time::UnixTime,
    token_request::{TokenRequest, UnverifiedRequest, UnverifiedUser},
};

pub(crate) const NOW: UnixTime = UnixTime::from_seconds(1_700_000_000);
pub(crate) const SECRET: &[u8] = b"a secret of the test that nobody else has";
pub(crate) const NEXT_SECRET: &[u8] = b"the secret that comes after it, of the test";

/// Stands at [`NOW`].
#[derive(Debug)]
pub(crate) struct StandingClock;

impl Clock for StandingClock {
    fn now(&self) -> UnixTime {
        NOW
    }
}

pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(StandingClock)
}

pub(crate) fn instance(name: &str) -> Instance {
    let url = Some("https://bi.example.com".parse().unwrap());
    Instance { name: name.parse().unwrap(), url, ..Instance::for_test() }
}

pub(crate) fn keys() -> Keys {
    Keys::new(SigningKey::from_bytes(SECRET), None)
}

pub(crate) fn with_key(instance: Instance) -> InstanceWithKey {
    InstanceWithKey { instance: Arc::new(instance), keys: keys(), live: None, probe_interval: None }
}

pub(crate) fn live(metabase: &Arc<Metabase>) -> LiveInstance {
    LiveInstance::new(Arc::clone(metabase) as Arc<dyn Http>)
}

pub(crate) fn shop() -> Caller {
    Caller::new(CallerId::Named("shop".parse().unwrap()), Proof::Local)
}

/// The caller of [`shop`] may do what `grant` says on `main`.
pub(crate) fn policy(grant: Grant) -> Policy {
    let mut policy = Policy::default();
    policy.add("shop".parse().unwrap(), "main".parse().unwrap(), grant).unwrap();
    policy
}

/// One instance, `main`, on which the caller of [`shop`] may do everything.
pub(crate) fn generations(one: InstanceWithKey) -> Arc<Generations> {
    Arc::new(Generations::new(Generation::new(vec![one], policy(Grant::unrestricted()))))
}

pub(crate) fn ada() -> UnverifiedRequest {
    let user = UnverifiedUser {
        id: "7".to_owned(),
        email: "ada@example.com".to_owned(),
        first_name: "Ada".to_owned(),
        last_name: "Lovelace".to_owned(),
    };
    UnverifiedRequest { user: Some(user), ..UnverifiedRequest::default() }
}

pub(crate) fn permit(request: UnverifiedRequest, instance: Instance) -> Result<Permit, Denial> {
    let request = TokenRequest::parse(request, Arc::new(instance)).unwrap();
    match policy(Grant::unrestricted()).decide(&shop(), request) {
        Decision::Allow(permit) => Ok(permit),
        Decision::Deny(denial) => Err(denial),
    }
}

pub(crate) fn audit() -> (Arc<Audit>, Queue) {
    let (audit, queue) = Audit::new(clock(), People::Plain, Some(PATIENCE));
    (Arc::new(audit), queue)
}

/// The next record, and what waits for its being written.
pub(crate) fn record(queue: &mut Queue) -> Option<serde_json::Value> {
    write(queue.entries.try_recv().ok()?)
}

/// What comes of `work`, and the records that were written meanwhile and are left.
pub(crate) async fn recorded<T>(queue: &mut Queue, work: impl Future<Output = T>) -> (T, Vec<serde_json::Value>) {
    let (mut work, mut records) = (pin!(work), Vec::new());
    let done = loop {
        tokio::select! {
            done = &mut work => break done,
            Some(entry) = queue.entries.recv() => records.extend(write(entry)),
        }
    };
    records.extend(std::iter::from_fn(|| record(queue)));
    (done, records)
}

fn write(entry: Entry) -> Option<serde_json::Value> {
    match entry {
        Entry::Record { record, written } => {
            if let Some(written) = written {
                written.send(true).unwrap();
            }
            let mut event: serde_json::Value = serde_json::from_slice(&record.event).unwrap();
            event["time"] = time(record.time).to_string().into();
            Some(event)
        }
        Entry::Close(_) => None,
    }
}

/// Answers by the first line of its script that the question begins with; a line that stands there twice holds for the first question
/// only.
#[derive(Debug)]
pub(crate) struct Metabase {
    script: Mutex<Vec<(&'static str, Result<Answer, Unreachable>)>>,
    asked: Mutex<Vec<String>>,
}

// `Answer` says nothing of itself, for it may hold a session.
impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.status, self.body)
    }
}

pub(crate) const GONE: Unreachable = Unreachable { what: "is gone" };

#[expect(clippy::unnecessary_wraps, reason = "the script of a Metabase has silence, too")]
pub(crate) fn answer(status: u16, body: &str) -> Result<Answer, Unreachable> {
    Ok(Answer { status, body: body.to_owned(), ..Answer::default() })
}

pub(crate) fn dated(seconds: i64, answer: Result<Answer, Unreachable>) -> Result<Answer, Unreachable> {
    answer.map(|answer| Answer { date: Some(NOW.seconds() + seconds), ..answer })
}

/// What a Metabase is asked about a secret, to see whether it holds it.
pub(crate) fn question(secret: &[u8]) -> &'static str {
    format!("POST /auth/sso/to_session {{jwt: {}}}", SigningKey::from_bytes(secret).probe().expose()).leak()
}

impl Metabase {
    pub(crate) fn new<const N: usize>(script: [(&'static str, Result<Answer, Unreachable>); N]) -> Arc<Self> {
        Self::of(script.into())
    }

    pub(crate) fn of(script: Vec<(&'static str, Result<Answer, Unreachable>)>) -> Arc<Self> {
        Arc::new(Self { script: Mutex::new(script), asked: Mutex::default() })
    }

    /// The questions so far: method, path, query, headers, body.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Http for Metabase {
    fn send<'a>(&'a self, request: &'a Request<'a>) -> BoxFuture<'a, Result<Answer, Unreachable>> {
        let method = match request.method {
            Method::Delete => "DELETE",
            Method::Get => "GET",
            Method::Post => "POST",
        };
        let mut question = format!("{method} {}", request.path);
        let query = request.query.iter().map(|(name, value)| format!(" {name}={value}"));
        let headers = request.headers.iter().map(|(name, value)| format!(" {name}: {value}"));
        let json = request.json.iter().map(|(name, value)| format!(" {{{name}: {value}}}"));
        question.extend(query.chain(headers).chain(json));
        let mut script = self.script.lock().unwrap();
        let found = script.iter().position(|(line, _)| question.starts_with(line));
        let answer = found.map_or(Err(GONE), |at| {
            let (line, answer) = script[at].clone();
            if script[at + 1..].iter().any(|(other, _)| *other == line) {
                let _ = script.remove(at);
            }
            answer
        });
        self.asked.lock().unwrap().push(question);
        Box::pin(async { answer })
    }
}
