use super::*;
use crate::application::testing::{NEXT_SECRET, NOW, SECRET};

const THIRD: &[u8] = b"a third secret, which has nothing to do with them";

fn keys(current: &[u8], next: Option<&[u8]>) -> Keys {
    Keys::new(SigningKey::from_bytes(current), next.map(SigningKey::from_bytes))
}

fn observe(keys: &Keys, current: Evidence, next: Option<Evidence>) -> Seen {
    keys.observe(NOW, current, next, Refused::Starting, Some(3))
}

#[test]
fn a_look_tells_about_the_secret_that_signs_after_it() {
    use Evidence::{Disproved, Proven, Unknown};
    for (current, next, state, signing) in [
        (Proven, None, State::Agrees, Which::Current),
        (Disproved, None, State::Disagrees, Which::Current),
        (Unknown, None, State::Unknown(Refused::Starting), Which::Current),
        (Proven, Some(Disproved), State::Agrees, Which::Current),
        (Disproved, Some(Proven), State::Agrees, Which::Next),
        (Disproved, Some(Unknown), State::Disagrees, Which::Current),
        (Unknown, Some(Disproved), State::Unknown(Refused::Starting), Which::Current),
    ] {
        let keys = keys(SECRET, next.map(|_| NEXT_SECRET));
        assert_eq!(keys.seen(), None);
        let seen = observe(&keys, current, next);
        assert_eq!(seen, Seen { at: NOW, state, signing, skew: Some(3) }, "{current:?} {next:?}");
        assert_eq!((keys.seen().as_deref(), keys.which_signs()), (Some(&seen), signing));
        let (which, key) = keys.signing();
        assert_eq!((which, key.is_same(keys.current())), (signing, signing == Which::Current));
        let resting = keys.resting().map(|(which, key)| (which, key.is_same(keys.current())));
        let expected = if signing == Which::Current { (Which::Next, false) } else { (Which::Current, true) };
        assert_eq!(resting, next.map(|_| expected));
    }
}

/// What a reload makes of a rotation in which the next secret signs.
#[test]
fn a_reload_goes_on_with_what_is_known_of_the_secret_that_signs() {
    for (current, next, inherited) in [
        (SECRET, Some(NEXT_SECRET), Some(Which::Next)),
        (NEXT_SECRET, None, Some(Which::Current)),
        (NEXT_SECRET, Some(THIRD), Some(Which::Current)),
        (THIRD, Some(NEXT_SECRET), Some(Which::Next)),
        (SECRET, None, None),
        (SECRET, Some(THIRD), None),
    ] {
        let previous = keys(SECRET, Some(NEXT_SECRET));
        let seen = observe(&previous, Evidence::Disproved, Some(Evidence::Proven));
        let mut reloaded = keys(current, next);
        reloaded.inherit(&previous);
        assert_eq!(reloaded.seen().as_deref().copied(), inherited.map(|signing| Seen { signing, ..seen }));
        assert_eq!(reloaded.which_signs(), inherited.unwrap_or(Which::Current));
    }
}

#[test]
fn the_next_secret_does_not_sign_once_it_is_not_configured() {
    let previous = keys(SECRET, Some(NEXT_SECRET));
    observe(&previous, Evidence::Proven, Some(Evidence::Disproved));
    let mut reloaded = keys(SECRET, None);
    reloaded.inherit(&previous);
    assert_eq!((reloaded.which_signs(), reloaded.next().is_none()), (Which::Current, true));
}

#[test]
fn a_state_is_told_in_a_word_and_in_a_sentence() {
    for (state, word, sentence) in [
        (State::Agrees, "agrees", "Metabase holds the secret that signs"),
        (State::Disagrees, "disagrees", "Metabase holds another secret than the one that signs"),
        (
            State::Unknown(Refused::Starting),
            "unknown",
            "it is not known whether Metabase holds the secret that signs: it is still",
        ),
    ] {
        assert_eq!(state.as_str(), word);
        assert!(state.to_string().starts_with(sentence), "{state}");
    }
}
