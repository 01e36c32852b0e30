//! Random histories of accounts, judged by a model that knows the whole past and keeps no state.

use proptest::prelude::*;

use super::*;

/// One thing that happened in a history.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// Seconds since the step before.
    after: i64,
    account: u8,
    person: u8,
    is_enforced: bool,
}

/// What the model remembers of the past: everything.
#[derive(Clone, Copy)]
struct Past {
    at: i64,
    account: u8,
    person: u8,
    /// Whether it was, or made the person, the holder.
    held: bool,
    /// Whether a token was issued.
    issued: bool,
    /// Whether the binding of this person began with it.
    began: bool,
}

/// Whose the account is: the last one who held it, if that was within the window.
fn holder(past: &[Past], account: u8, at: i64, window: i64) -> Option<u8> {
    let last = past.iter().rev().find(|one| one.account == account && one.held)?;
    (at - last.at < window).then_some(last.person)
}

/// Tokens of an account since its binding began, in the span of `at` and the five before.
fn tokens(past: &[Past], account: u8, at: i64) -> usize {
    let own = past.iter().rev().filter(|one| one.account == account);
    let mut count = 0;
    for one in own {
        if one.issued && at / 600 - one.at / 600 < 6 {
            count += 1;
        }
        if one.began {
            break;
        }
    }
    count
}

fn expect(past: &mut Vec<Past>, step: Step, at: i64, rules: &AccountRules) -> Findings {
    let Step { account, person, is_enforced, .. } = step;
    let holder = holder(past, account, at, i64::from(rules.window));
    let other_person = holder.is_some_and(|holder| holder != person);
    let before = if holder.is_some() { tokens(past, account, at) } else { 0 };
    let bound = rules.tokens_per_hour.map(NonZeroU32::get).map(|most| most as usize);
    let is_refused_already = other_person && is_enforced;
    let too_many_tokens = !is_refused_already && bound.is_some_and(|most| before + 1 > most);
    let findings = Findings { other_person, too_many_tokens };
    let issued = !(is_enforced && findings.any());
    past.push(Past { at, account, person, held: !other_person, issued, began: holder.is_none() });
    findings
}

/// Times that lie around every boundary: of the window, of the spans.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let after = prop_oneof![
        4 => 0_i64..5,
        3 => 100_i64..700,
        2 => Just(600_i64),
        2 => 3590_i64..3610,
        1 => prop::sample::select(vec![1799_i64, 1800, 1801, 7199, 7200, 7201]),
    ];
    let step = (after, 0_u8..3, 0_u8..3, any::<bool>()).prop_map(|(after, account, person, is_enforced)| Step {
        after,
        account,
        person,
        is_enforced,
    });
    prop::collection::vec(step, 1..60)
}

fn id(number: u8) -> [u8; PseudonymKey::LEN] {
    [number; PseudonymKey::LEN]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_history_is_judged_as_by_the_model(
        steps in steps(),
        window in prop::sample::select(vec![1800_u32, 7200]),
        most in prop::option::of(1_u32..6),
        start in 1_700_000_000_i64..1_700_001_200,
    ) {
        let rules = AccountRules { window, tokens_per_hour: most.and_then(NonZeroU32::new) };
        let (mut past, mut bindings, mut at) = (Vec::new(), [None; 3], start);
        for step in steps {
            at += step.after;
            let now = UnixTime::from_seconds(at);
            let (account, person) = (AccountId::from_bytes(id(step.account)), PersonId::from_bytes(id(step.person)));
            let asked = Use { account, person, is_enforced: step.is_enforced };
            let slot: &mut Option<Binding> = &mut bindings[usize::from(step.account)];
            let found = match slot {
                Some(binding) => binding.apply(&asked, &rules, now),
                None => {
                    let (binding, findings) = Binding::new(&asked, &rules, now);
                    *slot = Some(binding);
                    findings
                }
            };
            prop_assert_eq!(found, expect(&mut past, step, at, &rules), "{:?} at {}", step, at);
        }
    }

    #[test]
    fn no_two_accounts_and_no_two_people_share_a_hash(
        one in ("[ab]{0,3}", "[ab]{0,3}", "[ab]{0,3}"),
        other in ("[ab]{0,3}", "[ab]{0,3}", "[ab]{0,3}"),
    ) {
        let secret = crate::domain::secret::SharedSecret::parse((*b"8f2b7c1d9e3a4056b8c7d2e1f0a9b3c4").into()).unwrap();
        let key = PseudonymKey::new(&secret);
        let account = |(instance, directory, email): &(String, String, String)| AccountId::new(&key, instance, directory, email);
        let person = |(directory, id, _): &(String, String, String)| PersonId::new(&key, directory, id);
        prop_assert_eq!(account(&one) == account(&other), one == other);
        prop_assert_eq!(person(&one) == person(&other), (&one.0, &one.1) == (&other.0, &other.1));
        prop_assert_ne!(account(&one).as_bytes(), person(&one).as_bytes());
    }
}
