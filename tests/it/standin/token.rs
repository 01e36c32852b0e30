//! Tokens as buddy-sign reads them: signature, `exp`, `nbf`, `iat`, in this order.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

const MAX_AGE: i64 = 180;

pub(crate) fn now() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "another server has a clock of its own")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed()
}

/// The claims, or the message of the refusal.
pub(crate) fn unsign(jwt: &str, secret: &str, now: i64) -> Result<Value, String> {
    let corrupt = || "Message seems corrupt or manipulated".to_owned();
    let (signed, signature) = jwt.rsplit_once('.').ok_or_else(corrupt)?;
    let (header, payload) = signed.split_once('.').ok_or_else(corrupt)?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| corrupt());
    let parse = |part: &str| serde_json::from_slice::<Value>(&decode(part)?).map_err(|_| corrupt());
    if !parse(header)?.is_object() {
        return Err(corrupt());
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hmac::verify(&key, signed.as_bytes(), &decode(signature)?).map_err(|_| corrupt())?;
    let claims = parse(payload)?;
    let time = |name: &str| claims[name].as_i64();
    match (time("exp"), time("nbf"), time("iat")) {
        (Some(exp), _, _) if exp <= now => Err(format!("Token is expired ({exp})")),
        (_, Some(nbf), _) if nbf > now => Err(format!("Token is not yet valid ({nbf})")),
        (_, _, Some(iat)) if now - iat > MAX_AGE => Err(format!("Token is older than max-age ({MAX_AGE})")),
        _ => Ok(claims),
    }
}

/// What becomes an attribute of the person.
pub(super) fn attributes(claims: &Value) -> BTreeMap<String, String> {
    const OWN: [&str; 11] =
        ["iss", "iat", "sub", "aud", "exp", "nbf", "jti", "email", "first_name", "last_name", "groups"];
    let members = claims.as_object().into_iter().flatten();
    let attributes = members.filter(|(key, _)| !OWN.contains(&key.as_str()) && !key.starts_with('@'));
    attributes.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}
