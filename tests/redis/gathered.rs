//! What is asked at the same time goes to Redis together, and everyone gets an answer of their own.

use std::{num::NonZeroU32, time::Duration};

use futures_util::{FutureExt as _, future::join_all};
use metabase_token_service::domain::account::AccountRules;

use crate::{
    redis_process::{Options, Redis, until},
    store::{asked, decide, open},
};

const SECOND: Duration = Duration::from_secs(1);
const RULES: AccountRules = AccountRules { window: 3600, tokens_per_hour: NonZeroU32::new(100) };

/// Scripts that it has run.
fn scripts(redis: &Redis) -> usize {
    let stats = redis.cli(&["INFO", "commandstats"]);
    let calls = |line: &str| {
        line.strip_prefix("cmdstat_eval")?.split_once("calls=")?.1.split(',').next()?.parse::<usize>().ok()
    };
    stats.lines().filter_map(calls).sum()
}

#[tokio::test]
async fn many_questions_take_few_commands_and_are_answered_in_their_order() {
    let redis = Redis::start(Options::default());
    let store = open(&[&redis], SECOND).await;
    // A connection is tried before it is used. Redis does not know the script yet: it is sent once more, as a whole.
    let begun = 2;
    assert_eq!(scripts(&redis), begun);
    let other_person = async |people: &[(u8, u8)]| -> Vec<bool> {
        let all = people.iter().map(|(account, person)| decide(&store, asked(*account, *person, true), RULES));
        join_all(all).await.into_iter().map(|found| found.unwrap().other_person).collect()
    };
    assert_eq!(other_person(&[(0, 1), (0, 2), (0, 1), (0, 2)]).await, [false, true, false, true]);
    assert_eq!(scripts(&redis), begun + 1);
    let people: Vec<(u8, u8)> = (0..200).map(|number| (number / 2, 1 + number % 2)).collect();
    let expected: Vec<bool> = people.iter().map(|(_, person)| *person == 2).collect();
    assert_eq!(other_person(&people).await, expected);
    // 64 at most, for Redis does nothing else meanwhile.
    assert_eq!(scripts(&redis), begun + 1 + 4);
    assert_eq!(redis.cli(&["SCRIPT", "FLUSH"]), "OK");
    assert_eq!(other_person(&people).await, expected);
    until("a hundred accounts", || redis.accounts() == 100);
}

#[tokio::test]
async fn tokens_of_one_account_are_counted_one_after_the_other() {
    let redis = Redis::start(Options::default());
    let store = open(&[&redis], SECOND).await;
    let rules = AccountRules { tokens_per_hour: NonZeroU32::new(3), ..RULES };
    let found = join_all([1; 5].map(|account| decide(&store, asked(account, 1, true), rules))).await;
    let too_many: Vec<bool> = found.into_iter().map(|found| found.unwrap().too_many_tokens).collect();
    assert_eq!(too_many, [false, false, false, true, true]);
}

#[tokio::test]
async fn questions_under_other_rules_go_separately() {
    let redis = Redis::start(Options::default());
    let store = open(&[&redis], SECOND).await;
    let windows = [100, 100, 7200, 100];
    let ask = |(number, window): (u8, u32)| decide(&store, asked(number, 1, true), AccountRules { window, ..RULES });
    let found = join_all((0..).zip(windows).map(ask)).await;
    assert!(found.iter().all(Result::is_ok), "{found:?}");
    for (number, window) in (0_u8..).zip(windows) {
        let key = format!("mts:account:2:{}", format!("{number:02x}").repeat(16));
        let lives: u32 = redis.cli(&["TTL", &key]).parse().unwrap();
        assert!((window - 50..=window).contains(&lives), "{number}: {lives} of {window}");
    }
}

#[tokio::test]
async fn a_window_that_was_made_shorter_holds_for_accounts_that_are_held() {
    let redis = Redis::start(Options::default());
    let store = open(&[&redis], SECOND).await;
    let key = format!("mts:account:2:{}", "01".repeat(16));
    let lives = || redis.cli(&["TTL", &key]).parse::<u32>().unwrap();
    let other = async |window| decide(&store, asked(1, 2, true), AccountRules { window, ..RULES }).await;
    assert!(!decide(&store, asked(1, 1, true), RULES).await.unwrap().any());
    // What others try does not lengthen it.
    assert!(other(RULES.window * 2).await.unwrap().other_person);
    assert!((RULES.window - 50..=RULES.window).contains(&lives()));
    assert!(other(100).await.unwrap().other_person);
    assert!((50..=100).contains(&lives()));
}

/// The budget is that of a question, from when it is asked.
#[tokio::test]
async fn whoever_has_waited_long_enough_goes_and_the_others_get_their_answers() {
    const BUDGET: Duration = Duration::from_millis(800);
    let redis = Redis::start(Options::default());
    let store = open(&[&redis], BUDGET).await;
    redis.signal("-STOP");
    let first = decide(&store, asked(1, 1, true), RULES);
    let second = decide(&store, asked(2, 1, true), RULES);
    tokio::pin!(first, second);
    assert!(first.as_mut().now_or_never().is_none());
    // In the only thread there is: nothing is sent meanwhile, so that both go together.
    std::thread::sleep(BUDGET / 2);
    tokio::select! {
        biased;
        found = &mut second => unreachable!("Redis does not answer yet: {found:?}"),
        found = first => assert!(found.is_err(), "{found:?}"),
    }
    redis.signal("-CONT");
    assert!(!second.await.unwrap().other_person);
    // One command, which was not called back.
    until("two accounts", || redis.accounts() == 2);
}

/// Nothing of somebody else's is overwritten, and who is asked about beside it does not suffer.
#[tokio::test]
async fn a_key_with_a_foreign_value_fails_its_own_account_alone() {
    let redis = Redis::start(Options::default());
    let store = open(&[&redis], SECOND).await;
    let key = |account: u8| format!("mts:account:2:{}", format!("{account:02x}").repeat(16));
    redis.cli(&["SET", &key(1), "short"]);
    redis.cli(&["RPUSH", &key(2), "a", "b"]);
    redis.cli(&["SET", &key(3), &"long".repeat(9)]);
    let found = join_all((0..5).map(|account| decide(&store, asked(account, 1, true), RULES))).await;
    let is_answered: Vec<bool> = found.iter().map(Result::is_ok).collect();
    assert_eq!(is_answered, [true, false, false, false, true], "{found:?}");
    assert_eq!(redis.cli(&["GET", &key(1)]), "short");
    assert_eq!(redis.cli(&["LLEN", &key(2)]), "2");
}
