//! Random histories of accounts, judged by a model.

use proptest::prelude::*;

use super::{
    model::{Model, Step},
    *,
};

/// Times that lie around every boundary: of the windows, of the spans of ten minutes, of the hour.
const PAUSES: [i64; 16] = [0, 0, 0, 1, 2, 3, 4, 100, 450, 600, 700, 1799, 1800, 3599, 7199, 7200];

/// From the bits of a number, which costs less than a strategy for each part of each step.
fn step(bits: u16) -> Step {
    let [pause, account, person, is_enforced] = [bits % 16, (bits >> 4) % 3, (bits >> 8) % 3, (bits >> 12) % 2];
    let [account, person] = [account, person].map(|number| u8::try_from(number).unwrap());
    Step { after: PAUSES[usize::from(pause)], account, person, is_enforced: is_enforced == 1 }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(any::<u16>(), 1..40).prop_map(|numbers| numbers.into_iter().map(step).collect())
}

/// Hands random histories to `store`, a new one for each, which decides about each use of an account.
pub(crate) fn assert_follows_model<S>(
    new_store: impl Fn() -> S,
    decide: impl Fn(&mut S, &Use, AccountRules, UnixTime) -> Findings,
) {
    let config = ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() };
    let rules = (prop::sample::select(vec![1800_u32, 7200]), prop::option::of(1_u32..6));
    let history = (steps(), rules, 1_700_000_000_i64..1_700_001_200);
    let judged = proptest::test_runner::TestRunner::new(config).run(&history, |(steps, (window, most), start)| {
        let rules = AccountRules { window, tokens_per_hour: most.and_then(NonZeroU32::new) };
        let mut model = Model::new(i64::from(window), most.map(|most| most as usize));
        let (mut store, mut at) = (new_store(), start);
        for step in steps {
            at += step.after;
            let account = AccountId::from_bytes([step.account; AccountKey::LEN]);
            let person = PersonId::from_bytes([step.person; AccountKey::LEN]);
            let asked = Use { account, person, is_enforced: step.is_enforced };
            let found = decide(&mut store, &asked, rules, UnixTime::from_seconds(at));
            let found = (found.other_person, found.too_many_tokens);
            prop_assert_eq!(found, model.expect(step, at), "{:?} at {}", step, at);
        }
        Ok(())
    });
    judged.unwrap();
}

#[test]
fn every_history_is_judged_as_by_the_model() {
    assert_follows_model(
        || [None::<Binding>; 3],
        |bindings, asked, rules, now| {
            let slot = &mut bindings[usize::from(asked.account.as_bytes()[0])];
            if let Some(binding) = slot {
                return binding.apply(asked, rules, now);
            }
            let (binding, findings) = Binding::new(asked, rules, now);
            *slot = Some(binding);
            findings
        },
    );
}

proptest! {
    #[test]
    fn no_two_accounts_and_no_two_people_share_a_hash(
        one in ("[ab]{0,3}", "[ab]{0,3}", "[ab]{0,3}"),
        other in ("[ab]{0,3}", "[ab]{0,3}", "[ab]{0,3}"),
    ) {
        let secret = crate::domain::secret::SharedSecret::parse((*b"8f2b7c1d9e3a4056b8c7d2e1f0a9b3c4").into()).unwrap();
        for key in [AccountKey::shared(&secret), AccountKey::of_process(&secret)] {
            let account = |(instance, directory, email): &(String, String, String)| AccountId::new(&key, instance, directory, email);
            let person = |(directory, id, _): &(String, String, String)| PersonId::new(&key, directory, id);
            prop_assert_eq!(account(&one) == account(&other), one == other);
            prop_assert_eq!(person(&one) == person(&other), (&one.0, &one.1) == (&other.0, &other.1));
            prop_assert_ne!(*account(&one).as_bytes(), *person(&one).as_bytes());
        }
    }
}
