//! The HS256 groups of project Wycheproof's JSON Web Signature vectors against the judge's verification.
//!
//! Reads `json_web_signature_test.json` in the folder that `WYCHEPROOF_DIR` names at build time.

use std::{collections::BTreeSet, fs, path::Path};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use super::compact::Compact;
use crate::application::signing_key::SigningKey;

/// Where Metabase, whose answer is ours, differs from what the vectors expect: case and whether Metabase accepts it.
const EXCEPTIONS: [(u64, bool, &str); 5] = [
    (367, true, "the text is the same as that of case 357, which is valid"),
    (370, true, "the text is the same as that of case 357, which is valid"),
    (372, false, "has a `?` in the header, which is not base64url; the vector allows for decoders that skip it"),
    (373, false, "has a `?` in the payload, which is not base64url; the vector allows for decoders that skip it"),
    (375, true, "the MAC is right, and the JVM's decoder ignores surplus bits of the last digit"),
];

#[test]
fn wycheproof_hs256_vectors() {
    let file = Path::new(env!("WYCHEPROOF_DIR")).join("json_web_signature_test.json");
    let vectors: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let (mut groups, mut cases, mut excepted) = (BTreeSet::new(), 0, 0);
    for group in vectors["testGroups"].as_array().unwrap() {
        let key = &group["private"];
        if key["alg"] != "HS256" {
            continue;
        }
        groups.insert(group["comment"].as_str().unwrap());
        let key = SigningKey::from_bytes(&URL_SAFE_NO_PAD.decode(key["k"].as_str().unwrap()).unwrap());
        for test in group["tests"].as_array().unwrap() {
            let case = test["tcId"].as_u64().unwrap();
            let vector_expects = test["result"] == "valid";
            let exception = EXCEPTIONS.iter().find(|(id, ..)| *id == case);
            let expected = exception.map_or(vector_expects, |(_, accepts, _)| *accepts);
            assert!(exception.is_none() || expected != vector_expects, "case {case} is no exception");
            let verified = verify(test["jws"].as_str().unwrap(), &key);
            assert_eq!(verified, expected, "case {case}: {}", test["comment"]);
            cases += 1;
            excepted += usize::from(exception.is_some());
        }
    }
    assert_eq!(groups, ["base64", "hs256", "rfc7520"].into());
    assert_eq!((cases, excepted), (40, EXCEPTIONS.len()));
}

/// Everything the judge does before it looks at what the payload says.
fn verify(jws: &str, key: &SigningKey) -> bool {
    let Ok(compact) = Compact::parse(jws) else { return false };
    key.verifies(compact.signed().as_bytes(), compact.signature()) && compact.payload_bytes().is_some()
}
