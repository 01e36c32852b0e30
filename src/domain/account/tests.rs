use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use super::*;
use crate::domain::secret::SharedSecret;

fn key() -> AccountKey {
    AccountKey::shared(&SharedSecret::parse((*b"8f2b7c1d9e3a4056b8c7d2e1f0a9b3c4").into()).unwrap())
}

#[test]
fn a_person_has_to_be_named_where_several_at_one_account_are_noticed() {
    for (mode, spelling, needs_user_id) in [
        (OneAccount::Enforce, "enforce", true),
        (OneAccount::Lenient, "report", false),
        (OneAccount::Off, "off", false),
        (OneAccount::Report, "report", true),
    ] {
        assert_eq!((mode.as_str(), mode.needs_user_id()), (spelling, needs_user_id));
    }
    assert_eq!([OnStoreFailure::Allow, OnStoreFailure::Deny].map(OnStoreFailure::as_str), ["allow", "deny"]);
}

#[test]
fn either_finding_is_one() {
    for (other_person, too_many_tokens) in [(false, false), (false, true), (true, false), (true, true)] {
        assert_eq!(Findings { other_person, too_many_tokens }.any(), other_person || too_many_tokens);
    }
}

/// Stores are asked for the bytes, and two people with the same ones would be the same.
#[test]
fn the_bytes_are_those_of_the_hash() {
    let [ada, eve] = ["7", "8"].map(|id| PersonId::new(&key(), "shop", id));
    assert_ne!(ada.as_bytes(), eve.as_bytes());
    let bytes = *b"0123456789abcdef";
    assert_eq!(*PersonId::from_bytes(bytes).as_bytes(), bytes);
    assert_eq!(*AccountId::from_bytes(bytes).as_bytes(), bytes);
}

/// Otherwise every account of a store would lie in one place of its table.
#[test]
fn accounts_are_spread_over_a_table() {
    let hash = |email| {
        let account = AccountId::new(&key(), "main", "shop", email);
        BuildHasherDefault::<DefaultHasher>::default().hash_one(account)
    };
    assert_ne!(hash("ada@example.com"), hash("eve@example.com"));
}

#[test]
fn neither_accounts_nor_people_are_printed() {
    let (account, person) = (AccountId::from_bytes([7; 16]), PersonId::from_bytes([7; 16]));
    assert_eq!(format!("{account:?} {person:?}"), "AccountId(…) PersonId(…)");
}
