//! The rules as Redis runs them, judged by the model that judges those of the domain. Time is simulated: to let it pass, every key loses
//! that much of its life, and its spans of tokens move back. The start of a real span in the midst of a history would move them once
//! more, so such a history is run again.

use std::num::NonZeroU32;

use metabase_token_service::{
    adapters::account_store::RedisStore,
    application::accounts::{AccountStore as _, Applied},
    config::{RedisConfig, RedisUrl, SecretSource},
    domain::{
        account::{AccountId, AccountRules, Findings, OnStoreFailure, PersonId, Use},
        time::UnixTime,
    },
    telemetry::Metrics,
};
use proptest::{
    prelude::{ProptestConfig, Strategy, any},
    prop_assert_eq,
    test_runner::TestRunner,
};
use redis::{Commands as _, Connection};

use crate::{
    model::{Model, Step},
    redis_process::{Options, Redis as Server},
};

const HISTORIES: u32 = 500;
const PAUSES: [i64; 16] = [0, 0, 0, 1, 2, 3, 4, 100, 450, 600, 700, 1790, 1810, 3599, 7190, 7210];

fn step(bits: u16) -> Step {
    let [pause, account, person, is_enforced] = [bits % 16, (bits >> 4) % 3, (bits >> 8) % 3, (bits >> 12) % 2];
    let [account, person] = [account, person].map(|number| u8::try_from(number).unwrap());
    Step { after: PAUSES[usize::from(pause)], account, person, is_enforced: is_enforced == 1 }
}

/// The real span of ten minutes.
fn span(redis: &mut Connection) -> i64 {
    let time: (i64, i64) = redis::cmd("TIME").query(redis).unwrap();
    time.0 / 600
}

/// Lets simulated time pass, from `at`.
fn pass(redis: &mut Connection, at: i64, seconds: i64) {
    let spans = (at + seconds) / 600 - at / 600;
    for key in redis.keys::<_, Vec<String>>("*").unwrap() {
        let left: i64 = redis.pttl(&key).unwrap();
        let _: () = redis.pexpire(&key, left - seconds * 1000).unwrap();
        let Some(tokens) = redis.hget::<_, _, Option<String>>(&key, "tokens").unwrap() else { continue };
        let (newest, counts) = tokens.split_once(':').unwrap();
        let earlier = newest.parse::<i64>().unwrap() - spans;
        let _: () = redis.hset(&key, "tokens", format!("{earlier}:{counts}")).unwrap();
    }
}

async fn decide(store: &RedisStore, asked: &Use, rules: AccountRules) -> Findings {
    match store.apply(asked, rules, UnixTime::from_seconds(0)) {
        Applied::Now(found) => found.unwrap(),
        Applied::Later(found) => found.await.unwrap(),
    }
}

#[test]
fn every_history_is_judged_as_by_the_model() {
    let server = Server::start(Options::default());
    let mut redis = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let config = RedisConfig {
        urls: vec![RedisUrl { host: "127.0.0.1".to_owned(), port: server.port, is_tls: false }],
        cluster: false,
        username: None,
        password: None,
        ca: None,
        allow_plaintext: false,
        hash_key: (SecretSource::Generated, metabase_token_service::config::Location::default()),
        budget: std::time::Duration::from_secs(1),
        // Its time is real.
        repeats_for: std::time::Duration::ZERO,
        on_store_failure: OnStoreFailure::Deny,
    };
    let store = runtime.block_on(RedisStore::open(&config, Metrics::default().accounts)).unwrap();
    let config = ProptestConfig { cases: HISTORIES, failure_persistence: None, ..ProptestConfig::default() };
    let rules = (proptest::sample::select(vec![1800_u32, 7200]), proptest::option::of(1_u32..6));
    let history =
        (proptest::collection::vec(any::<u16>().prop_map(step), 1..40), rules, 1_700_000_000_i64..1_700_001_200);
    let redis = std::cell::RefCell::new(&mut redis);
    let judged = TestRunner::new(config).run(&history, |(steps, (window, most), start)| {
        let mut redis = redis.borrow_mut();
        let rules = AccountRules { window, tokens_per_hour: most.and_then(NonZeroU32::new) };
        loop {
            let real = span(&mut redis);
            let _: () = redis::cmd("FLUSHALL").query(&mut redis).unwrap();
            let mut model = Model::new(i64::from(window), most.map(|most| most as usize));
            let (mut at, mut found, mut expected) = (start, Vec::new(), Vec::new());
            for step in &steps {
                pass(&mut redis, at, step.after);
                at += step.after;
                let (account, person) =
                    (AccountId::from_bytes([step.account; 16]), PersonId::from_bytes([step.person; 16]));
                let asked = Use { account, person, is_enforced: step.is_enforced };
                let own = runtime.block_on(decide(&store, &asked, rules));
                found.push((own.other_person, own.too_many_tokens));
                expected.push(model.expect(*step, at));
            }
            if span(&mut redis) == real {
                prop_assert_eq!(&found, &expected, "{:?}", steps);
                return Ok(());
            }
        }
    });
    judged.unwrap();
}
