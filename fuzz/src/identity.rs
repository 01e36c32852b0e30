//! SPIFFE IDs, DNS names and service accounts, against the rules as the SPIFFE ID specification (sections 2.1 to 2.3), RFC 1123 and
//! Kubernetes state them; and patterns of SPIFFE IDs, against the policy that recognises callers by them.
//!
//! The input is an identity, or a pattern, a line break, and an identity.

use metabase_token_service::domain::{
    caller::{Caller, CallerId, CallerName, Proof},
    identity::{Identity, IdentityPattern, SpiffeId},
    policy::Policy,
};

pub fn check(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    match text.split_once('\n') {
        None => check_identity(text),
        Some((pattern, identity)) => check_pattern(pattern, identity),
    }
}

fn check_identity(text: &str) {
    let expected = if text.starts_with("spiffe://") {
        is_spiffe_id(text).then(|| text.to_owned())
    } else if text.starts_with("system:serviceaccount:") {
        is_service_account(text).then(|| text.to_owned())
    } else {
        is_dns_name(text).then(|| text.to_ascii_lowercase())
    };
    let identity = text.parse::<Identity>();
    assert_eq!(identity.as_ref().ok().map(ToString::to_string), expected, "{text:?}");
    let Ok(identity) = identity else { return };
    assert_eq!(identity.to_string().parse().as_ref(), Ok(&identity));
    if let Identity::Spiffe(id) = &identity {
        check_parts(id);
    }
}

fn check_parts(id: &SpiffeId) {
    let parts: Vec<&str> = id.as_str().split('/').collect();
    assert_eq!(id.trust_domain(), parts[2]);
    // Every way to cut segments off the end, but not into the trust domain.
    let parents: Vec<String> = (3..parts.len()).rev().map(|count| parts[..count].join("/") + "/").collect();
    assert_eq!(id.parents().collect::<Vec<_>>(), parents);
}

fn check_pattern(pattern: &str, identity: &str) {
    let Ok(identity) = identity.parse::<Identity>() else { return };
    let parsed = pattern.parse::<IdentityPattern>();
    let is_pattern = match pattern.strip_suffix("/*") {
        Some(above) if above.starts_with("spiffe://") => is_spiffe_id(&format!("{above}/x")),
        _ => pattern.parse::<Identity>().is_ok(),
    };
    assert_eq!(parsed.is_ok(), is_pattern, "{pattern:?}");
    let Ok(parsed) = parsed else { return };
    let name = identity.to_string();
    let is_recognised = match pattern.strip_suffix('*') {
        Some(above) => name.len() > above.len() && name.starts_with(above),
        None if pattern.contains(':') => name == pattern,
        None => name == pattern.to_ascii_lowercase(),
    };
    let mut policy = Policy::default();
    let shop: CallerName = "shop".parse().expect("a name");
    policy.recognise(shop.clone(), parsed);
    let caller = Caller::new(CallerId::Proven(identity), Proof::Mtls);
    assert_eq!(policy.name(&caller), is_recognised.then_some(&shop), "{pattern:?} {name:?}");
}

pub fn is_spiffe_id(text: &str) -> bool {
    let parts: Vec<&str> = text.split('/').collect();
    let ["spiffe:", "", trust_domain, path @ ..] = parts.as_slice() else { return false };
    let of = |allowed: fn(char) -> bool, part: &str| part.chars().all(|c| allowed(c) || "-_.".contains(c));
    let domain_char = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let segment_char = |c: char| c.is_ascii_alphanumeric();
    let is_segment = |part: &&str| !["", ".", ".."].contains(part) && of(segment_char, part);
    text.len() <= 2048
        && (1..=255).contains(&trust_domain.len())
        && of(domain_char, trust_domain)
        && !path.is_empty()
        && path.iter().all(is_segment)
}

pub fn is_dns_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(|label| label.len() <= 63 && is_label(label))
}

fn is_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let is_inner = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    is_end(bytes.first()) && is_end(bytes.last()) && bytes.iter().all(is_inner)
}

fn is_service_account(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    let ["system", "serviceaccount", namespace, name] = parts[..] else { return false };
    text.to_ascii_lowercase() == text && is_label(namespace) && name.split('.').all(is_label)
}
