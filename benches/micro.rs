//! What the steps of an issue cost by themselves: `cargo bench --locked --bench micro`. For comparing two versions of one step on
//! one machine; what counts in CI is the number of instructions (bench/instructions), which does not depend on the machine.

#[path = "issue/mod.rs"]
mod issue;

use std::{hint::black_box, sync::Arc, time::Duration};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use metabase_token_service::{
    adapters::clock::SystemClock,
    application::{
        Clock as _,
        agreement::Keys,
        audit::{Audit, By, Event, Grant, People},
        judge::judge,
        signing_key::SigningKey,
    },
    config::Config,
    domain::{
        policy::{Decision, Permit, Policy},
        secret::SharedSecret,
        time::UnixTime,
        token::Fingerprint,
        token_request::TokenRequest,
    },
    transport::proto::IssueMetabaseTokenResponse,
};
use prost::Message as _;
use prost_types::Timestamp;

const SECRET: &[u8] = b"4f1c9a7e03b85d26f7a1c3e9b0d48e6275ac13f0e9b7d6482c5e8f01a3b4d697";

struct Case {
    config: Config,
    policy: Policy,
    keys: Keys,
    now: UnixTime,
}

impl Case {
    fn new() -> Self {
        let config =
            Config::parse(&issue::files(r#"identity = { local = "shop" }"#).text, "bench").expect("the text is valid");
        let secret = SharedSecret::parse(SECRET.to_vec()).expect("it is long enough");
        Self {
            policy: config.policy(),
            config,
            keys: Keys::new(SigningKey::new(&secret), None),
            now: SystemClock.now(),
        }
    }

    fn request(&self) -> TokenRequest {
        let instance = self.config.instances.first().expect("there is one").instance.clone();
        TokenRequest::parse(issue::unverified(), Arc::new(instance)).expect("the request is valid")
    }

    fn permit(&self) -> Permit {
        match self.policy.decide(&issue::caller(), self.request()) {
            Decision::Allow(permit) => permit,
            Decision::Deny(denial) => unreachable!("{denial:?}"),
        }
    }

    fn token(&self) -> String {
        self.keys.signing().1.sign(&self.permit(), self.now).expect("a token").token.expose().to_owned()
    }
}

fn steps(criterion: &mut Criterion) {
    let case = Case::new();
    let (permit, token, caller) = (case.permit(), case.token(), issue::caller());
    let instance = case.config.instances.first().expect("there is one").instance.clone();

    criterion.bench_function("sign", |bencher| {
        bencher.iter(|| case.keys.signing().1.sign(black_box(&permit), case.now));
    });
    criterion.bench_function("verify", |bencher| {
        bencher.iter(|| judge(black_box(&token), &instance, &case.keys, case.now));
    });
    criterion.bench_function("decide", |bencher| {
        bencher.iter_batched(|| case.request(), |request| case.policy.decide(&caller, request), BatchSize::SmallInput);
    });

    let time = Some(Timestamp { seconds: case.now.seconds(), nanos: 0 });
    let answer = IssueMetabaseTokenResponse {
        jwt: token.clone(),
        issue_time: time,
        expire_time: time,
        exchange_deadline: time,
        token_fingerprint: "0123456789abcdef".to_owned(),
        sso_url: String::new(),
    };
    let mut buffer = Vec::with_capacity(answer.encoded_len());
    criterion.bench_function("encode", |bencher| {
        bencher.iter(|| {
            buffer.clear();
            black_box(&answer).encode(&mut buffer)
        });
    });

    let (audit, _queue) = Audit::new(Arc::new(SystemClock), People::Plain, None);
    let fingerprint = Fingerprint::of("a.b.c");
    let name = case.policy.name(&caller);
    criterion.bench_function("audit record", |bencher| {
        bencher.iter(|| {
            audit.record(case.now, || Event::TokenIssued {
                by: By::new(&caller, name),
                instance: "main",
                person: None,
                grant: Grant::of(black_box(&permit)),
                fingerprint,
                signed_with: "shared_secret",
                account_warnings: Vec::new(),
                generation: 1,
            })
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = steps
}
criterion_main!(benches);
