//! Tokens that are issued without asking Redis are counted once, and for the time at which they were issued.

use std::{num::NonZeroU32, time::Duration};

use metabase_token_service::{adapters::account_store::RedisStore, domain::account::AccountRules};
use tokio::time::sleep;

use crate::{
    histories::{pass, time},
    redis_process::{Options, Redis, until},
    store::{asked, decide_at, open_with_repeats},
};

const SECOND: Duration = Duration::from_secs(1);
const REPEATS: Duration = Duration::from_millis(300);
const WEEK: u32 = 7 * 86_400;
const KEY: &str = "mts:account:2:01010101010101010101010101010101";

/// How many tokens of `most` the holder gets at `seconds`, until there are too many.
async fn tokens(store: &RedisStore, rules: AccountRules, seconds: i64) -> u32 {
    let mut count = 0;
    while !decide_at(store, asked(1, 1, true), rules, seconds).await.unwrap().any() {
        count += 1;
    }
    count
}

/// The accident: the budget passes, Redis counts nevertheless, and is told the same again, until the person is refused.
#[tokio::test]
async fn what_redis_may_have_counted_is_not_told_again() {
    let redis = Redis::start(Options::default());
    let budget = Duration::from_millis(200);
    let store = open_with_repeats(&[&redis], budget, REPEATS).await;
    let rules = AccountRules { window: WEEK, tokens_per_hour: NonZeroU32::new(30) };
    for _ in 0..9 {
        assert!(!decide_at(&store, asked(1, 1, true), rules, 0).await.unwrap().any());
    }
    sleep(REPEATS).await;
    redis.signal("-STOP");
    for _ in 0..2 {
        assert!(decide_at(&store, asked(1, 1, true), rules, 0).await.is_err());
    }
    redis.signal("-CONT");
    until("a Redis that answers", || redis.cli(&["PING"]) == "PONG");
    // Nine that were issued, and two that would have been.
    assert_eq!(tokens(&store, rules, 0).await, 30 - 9 - 2);
}

#[tokio::test]
async fn tokens_count_for_the_hour_in_which_they_were_issued() {
    let redis = Redis::start(Options::default());
    let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    let store = open_with_repeats(&[&redis], SECOND, REPEATS).await;
    // No real span of ten minutes begins in the midst of it.
    while !(5..590).contains(&(time(&mut connection) % 600)) {
        sleep(SECOND).await;
    }
    let rules = AccountRules { window: WEEK, tokens_per_hour: NonZeroU32::new(10) };
    for _ in 0..8 {
        assert!(!decide_at(&store, asked(1, 1, true), rules, 0).await.unwrap().any());
    }
    // Redis knows of one of them, and is told of the others half an hour later, ...
    sleep(REPEATS).await;
    pass(&mut connection, 0, 1800);
    assert_eq!(tokens(&store, rules, 1800).await, 2);
    // ... and forgets all eight an hour after they were issued, but not the two.
    sleep(REPEATS).await;
    pass(&mut connection, 1800, 1800);
    assert_eq!(tokens(&store, rules, 3600).await, 8);
    // What it is told of only after more than an hour, it forgets at once.
    sleep(REPEATS).await;
    pass(&mut connection, 3600, 7200);
    assert_eq!(tokens(&store, rules, 10_800).await, 10);
}

#[tokio::test]
async fn nothing_that_was_issued_before_the_account_was_free_counts() {
    let redis = Redis::start(Options::default());
    let store = open_with_repeats(&[&redis], SECOND, REPEATS).await;
    let rules = AccountRules { window: 12, tokens_per_hour: NonZeroU32::new(10) };
    let issue = async |person, seconds| {
        let found = decide_at(&store, asked(1, person, false), rules, seconds).await;
        assert!(!found.unwrap().too_many_tokens, "{person} at {seconds}");
    };
    for seconds in [0, 13] {
        for _ in 0..8 {
            issue(1, seconds).await;
        }
        sleep(REPEATS).await;
        // As Redis does when the window is over.
        redis.cli(&["DEL", KEY]);
    }
    // Another person holds it now, who does not answer for those of before.
    for _ in 0..7 {
        issue(2, 26).await;
    }
    issue(1, 26).await;
    sleep(REPEATS).await;
    issue(2, 26).await;
    issue(1, 26).await;
}
