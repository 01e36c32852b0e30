//! The rules as Redis runs them, judged by the model that judges those of the domain. What happens without a pause is asked at once, and
//! decided in one go. Time is simulated: to let it pass, every key loses that much of its life, and its spans of tokens move back. The start
//! of a real span in the midst of a history would move them once more, so such a history is run again.

use std::{num::NonZeroU32, time::Duration};

use futures_util::future::join_all;
use metabase_token_service::domain::account::AccountRules;
use proptest::{
    prelude::{ProptestConfig, Strategy, any},
    prop_assert_eq,
    test_runner::TestRunner,
};
use redis::{Commands as _, Connection};

use crate::{
    model::{Model, Step},
    redis_process::{Options, Redis as Server},
    store::{asked, decide, open},
};

const HISTORIES: u32 = 500;
const PAUSES: [i64; 16] = [0, 0, 0, 1, 2, 3, 4, 100, 450, 600, 700, 1790, 1810, 3599, 7190, 7210];

fn step(bits: u16) -> Step {
    let [pause, account, person, is_enforced] = [bits % 16, (bits >> 4) % 3, (bits >> 8) % 3, (bits >> 12) % 2];
    let [account, person] = [account, person].map(|number| u8::try_from(number).unwrap());
    Step { after: PAUSES[usize::from(pause)], account, person, is_enforced: is_enforced == 1 }
}

/// Real seconds since 1970.
pub(crate) fn time(redis: &mut Connection) -> i64 {
    let (seconds, _): (i64, i64) = redis::cmd("TIME").query(redis).unwrap();
    seconds
}

/// The real span of ten minutes.
fn span(redis: &mut Connection) -> i64 {
    time(redis) / 600
}

/// Lets simulated time pass, from `at`.
pub(crate) fn pass(redis: &mut Connection, at: i64, seconds: i64) {
    let spans = (at + seconds) / 600 - at / 600;
    for key in redis.keys::<_, Vec<String>>("*").unwrap() {
        let left: i64 = redis.pttl(&key).unwrap();
        let _: () = redis.pexpire(&key, left - seconds * 1000).unwrap();
        let Some(mut value) = redis.get::<_, Option<Vec<u8>>>(&key).unwrap() else { continue };
        let newest = u32::from_be_bytes(value[16..20].try_into().unwrap());
        value[16..20].copy_from_slice(&(newest - u32::try_from(spans).unwrap()).to_be_bytes());
        let keep = redis::SetOptions::default().with_expiration(redis::SetExpiry::KEEPTTL);
        let _: () = redis.set_options(&key, value, keep).unwrap();
    }
}

#[test]
fn every_history_is_judged_as_by_the_model() {
    let server = Server::start(Options::default());
    let mut redis = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    // Of one thread: what is asked at once is sent at once, and in that order.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = runtime.block_on(open(&[&server], Duration::from_secs(1)));
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
            for together in steps.chunk_by(|_, next| next.after == 0) {
                pass(&mut redis, at, together[0].after);
                at += together[0].after;
                let answers = join_all(
                    together
                        .iter()
                        .map(|step| decide(&store, asked(step.account, step.person, step.is_enforced), rules)),
                );
                for own in runtime.block_on(answers) {
                    found.push(own.map(|own| (own.other_person, own.too_many_tokens)).unwrap());
                }
                expected.extend(together.iter().map(|step| model.expect(*step, at)));
            }
            if span(&mut redis) == real {
                prop_assert_eq!(&found, &expected, "{:?}", steps);
                return Ok(());
            }
        }
    });
    judged.unwrap();
}
