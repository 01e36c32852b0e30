//! How Metabase judges a token: buddy-sign's `unsign` with a max-age of 180 s, then Metabase's provider. Written from
//! `docs/tokens.md`, "How CheckAuthStatus judges", and from what buddy-sign does with JSON that is no object.

use std::collections::BTreeMap;

use aws_lc_rs::hmac;

use crate::{
    base64url,
    jackson::{self, Json},
    jvm_number::JvmNumber,
};

const CORRUPT: &str = "Message seems corrupt or manipulated";
const MAX_AGE: i64 = 180;

/// What an administrator sets in Metabase.
pub struct Settings {
    pub email: &'static str,
    pub first_name: &'static str,
    pub last_name: &'static str,
    pub groups: &'static str,
    pub tenant: &'static str,
    pub tenant_attributes: &'static str,
    pub use_tenants: bool,
}

pub struct Verdict {
    pub reason: &'static str,
    /// The beginning of what Metabase answers, where it answers.
    pub answer: Option<String>,
    pub reading: Option<Reading>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reading {
    pub email: String,
    pub first_name: String,
    pub last_name: String,
    pub groups: Option<Vec<String>>,
    pub attributes: BTreeMap<String, String>,
    pub tenant: Option<(String, BTreeMap<String, String>)>,
    pub iat: Option<i64>,
    pub exp: Option<i64>,
    pub deadline: Option<i64>,
}

type Refusal = (&'static str, Option<String>);

pub fn judge(token: &str, secret: &[u8], now: i64, settings: &Settings) -> Verdict {
    let claims = match unsign(token, secret) {
        Ok(claims) => claims,
        Err((reason, answer)) => return Verdict { reason, answer, reading: None },
    };
    let reading = Some(read(&claims, settings));
    let checked = check_times(&claims, now).and_then(|()| check_identity(&claims, settings));
    match checked {
        Ok(()) => Verdict { reason: "ACCEPTED", answer: None, reading },
        Err((reason, answer)) => Verdict { reason, answer, reading },
    }
}

type Claims = Vec<(String, Json)>;

fn unsign(token: &str, secret: &[u8]) -> Result<Claims, Refusal> {
    let malformed = || ("MALFORMED", Some(CORRUPT.to_owned()));
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, signature] = parts[..] else { return Err(malformed()) };
    // What JSON's limits make of it is no longer "corrupt", but refused in the same way.
    let no_limits = || ("MALFORMED", None);
    let header = base64url::decode(header).ok_or_else(malformed)?;
    let header = jackson::first_value(&header).map_err(|_| no_limits())?;
    let header = header_members(header).ok_or_else(malformed)?;
    let signature = base64url::decode(signature).ok_or_else(malformed)?;
    let signed = &token[..parts[0].len() + 1 + payload.len()];
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    if hmac::verify(&key, signed.as_bytes(), &signature).is_err() {
        let reason = match last(&header, "alg") {
            Some(Json::String(name)) if !name.eq_ignore_ascii_case("HS256") => "UNSUPPORTED_ALGORITHM",
            _ => "SIGNATURE_MISMATCH",
        };
        return Err((reason, Some(CORRUPT.to_owned())));
    }
    let payload = base64url::decode(payload).ok_or_else(no_limits)?;
    match jackson::first_value(&payload).map_err(|_| no_limits())? {
        // Nothing, and null, are an empty map to Clojure.
        None | Some(Json::Null) => Ok(Vec::new()),
        Some(Json::Object(claims)) => Ok(claims),
        Some(_) => Err(("MALFORMED", Some("An unexpected error occurred during authentication".to_owned()))),
    }
}

/// An object; or what Clojure takes for one when it takes maps apart: a list of keys and values, maybe with an object at its end.
fn header_members(header: Option<Json>) -> Option<Claims> {
    match header? {
        Json::Object(members) => Some(members),
        Json::Array(items) if items.len().is_multiple_of(2) => Some(Vec::new()),
        Json::Array(mut items) => match items.pop()? {
            Json::Object(members) => Some(members),
            _ => None,
        },
        _ => None,
    }
}

fn last<'a>(members: &'a [(String, Json)], name: &str) -> Option<&'a Json> {
    members.iter().filter(|(own, _)| own == name).map(|(_, value)| value).next_back()
}

fn check_times(claims: &Claims, now: i64) -> Result<(), Refusal> {
    if let Some(exp) = time(claims, "exp")?
        && exp.compare(now).is_le()
    {
        return Err(("EXPIRED", Some(format!("Token is expired ({})", exp.print()))));
    }
    if let Some(nbf) = time(claims, "nbf")?
        && nbf.compare(now).is_gt()
    {
        return Err(("NOT_YET_VALID", Some(format!("Token is not yet valid ({})", nbf.print()))));
    }
    let is_too_old = match time(claims, "iat")? {
        None => false,
        Some(JvmNumber::Long(iat)) => match now.checked_sub(iat) {
            Some(age) => age > MAX_AGE,
            None => return Err(("INVALID_CLAIM", Some("long overflow".to_owned()))),
        },
        Some(JvmNumber::Double(iat)) => now as f64 - iat > MAX_AGE as f64,
        Some(JvmNumber::Big { is_negative, .. }) => is_negative,
    };
    if is_too_old {
        return Err(("TOO_OLD_TO_EXCHANGE", Some(format!("Token is older than max-age ({MAX_AGE})"))));
    }
    Ok(())
}

/// None for what counts as absent in Clojure.
fn time(claims: &Claims, name: &str) -> Result<Option<JvmNumber>, Refusal> {
    let class = match last(claims, name) {
        None | Some(Json::Null | Json::Bool(false)) => return Ok(None),
        Some(Json::Number(text)) => return Ok(Some(JvmNumber::of(text))),
        Some(Json::Array(_)) => "clojure.lang.Persistent",
        Some(Json::Bool(true)) => "java.lang.Boolean cannot be cast to class java.lang.Number",
        Some(Json::Object(_)) => "clojure.lang.Persistent",
        Some(Json::String(_)) => "java.lang.String cannot be cast to class java.lang.Number",
    };
    Err(("INVALID_CLAIM", Some(format!("class {class}"))))
}

fn check_identity(claims: &Claims, settings: &Settings) -> Result<(), Refusal> {
    let is_tenant = match last(claims, settings.tenant) {
        None | Some(Json::Null | Json::String(_)) => true,
        Some(Json::Number(text)) => !matches!(JvmNumber::of(text), JvmNumber::Double(_)),
        Some(_) => false,
    };
    if !is_tenant {
        return Err(("INVALID_CLAIM", Some("Value of `@tenant` must be a string".to_owned())));
    }
    match last(claims, settings.email) {
        None | Some(Json::Null | Json::Bool(false)) => {
            Err(("MISSING_EMAIL", Some("JWT token missing email claim".to_owned())))
        }
        Some(Json::String(email)) if email.is_empty() => Err(("MISSING_EMAIL", None)),
        Some(Json::String(email)) if is_address(&email.to_lowercase()) => Ok(()),
        Some(_) => Err(("INVALID_CLAIM", None)),
    }
}

/// `docs/tokens.md`: at most 254 characters, ASCII, dot-separated atoms, a domain with a dot.
fn is_address(text: &str) -> bool {
    let Some(at) = text.bytes().rposition(|byte| byte == b'@') else { return false };
    let (local, domain) = (&text[..at], &text[at + 1..]);
    let atom = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+/=?^_`{|}~-".contains(c))
    };
    let label = |part: &str| {
        let inner = part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        inner && !part.is_empty() && !part.starts_with('-') && !part.ends_with('-')
    };
    text.len() <= 254 && local.split('.').all(atom) && domain.split('.').all(label) && domain.contains('.')
}

fn read(claims: &Claims, settings: &Settings) -> Reading {
    let string = |name: &str| match last(claims, name) {
        Some(Json::String(text)) => text.clone(),
        _ => String::new(),
    };
    let time = |name: &str| match last(claims, name) {
        Some(Json::Number(text)) => Some(JvmNumber::of(text).floor()),
        _ => None,
    };
    let groups = match last(claims, settings.groups) {
        None | Some(Json::Null | Json::Bool(false)) => None,
        Some(Json::String(one)) => Some(vec![one.clone()]),
        Some(Json::Array(items)) => {
            let names =
                items.iter().filter_map(|item| if let Json::String(name) = item { Some(name.clone()) } else { None });
            Some(names.collect())
        }
        Some(_) => Some(Vec::new()),
    };
    let mut own = vec!["iss", "iat", "sub", "aud", "exp", "nbf", "jti"];
    own.extend([settings.email, settings.first_name, settings.last_name, settings.groups]);
    if settings.use_tenants {
        own.extend([settings.tenant, settings.tenant_attributes]);
    }
    let slug = match last(claims, settings.tenant) {
        Some(Json::String(slug)) => Some(slug.clone()),
        Some(Json::Number(text)) => Some(JvmNumber::of(text).print()),
        _ => None,
    };
    let tenant_attributes = match last(claims, settings.tenant_attributes) {
        Some(Json::Object(members)) => stored(members, &[]),
        _ => BTreeMap::new(),
    };
    let (iat, exp) = (time("iat"), time("exp"));
    Reading {
        email: string(settings.email).to_lowercase(),
        first_name: string(settings.first_name),
        last_name: string(settings.last_name),
        groups,
        attributes: stored(claims, &own),
        tenant: slug.map(|slug| (slug, tenant_attributes)),
        iat,
        exp,
        deadline: match (iat.map(|iat| iat.saturating_add(MAX_AGE)), exp) {
            (Some(old), Some(exp)) => Some(old.min(exp)),
            (one, other) => one.or(other),
        },
    }
}

/// Scalars as text; names that Metabase reserves, and everything else, are dropped. The last of a name counts, also to be dropped.
fn stored(members: &[(String, Json)], own: &[&str]) -> BTreeMap<String, String> {
    let mut attributes = BTreeMap::new();
    for (name, value) in members {
        // Clojure makes keywords of names: what stands behind the first slash is the name, and before it a namespace.
        let keyword = match name.find('/') {
            Some(at) if name.len() > 1 => &name[at + 1..],
            _ => name.as_str(),
        };
        if own.contains(&name.as_str()) || keyword.starts_with('@') {
            continue;
        }
        let text = match value {
            Json::String(text) => Some(text.clone()),
            Json::Bool(truth) => Some(truth.to_string()),
            Json::Number(text) => Some(JvmNumber::of(text).print()),
            Json::Array(_) | Json::Null | Json::Object(_) => None,
        };
        match text {
            Some(text) => drop(attributes.insert(name.clone(), text)),
            None => drop(attributes.remove(name)),
        }
    }
    attributes
}
