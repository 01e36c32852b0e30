//! The checks that make Metabase refuse a verified token, in its order, and what it says.

use std::cmp::Ordering;

use super::json::{self, Member, Number, Value};
use crate::domain::{
    auth_status::AuthStatusReason,
    claims::ClaimNames,
    subject::{Email, InvalidEmail},
    time::UnixTime,
    token::MAX_AGE_SECONDS,
};

/// Numbers of seconds from here on (the year 5138) are taken for milliseconds.
const MILLISECONDS_FROM: i64 = 100_000_000_000;

/// Why Metabase would not sign the bearer in.
pub(super) struct Refusal {
    pub(super) reason: AuthStatusReason,
    /// Begins a sentence.
    pub(super) why: String,
    /// What Metabase says, where that is known.
    pub(super) answer: Option<String>,
}

fn refuse(reason: AuthStatusReason, why: impl Into<String>, answer: impl Into<String>) -> Refusal {
    Refusal { reason, why: why.into(), answer: Some(answer.into()) }
}

/// The payload is JSON but not an object: Metabase fails when it takes claims out of it.
pub(super) fn not_an_object() -> Refusal {
    refuse(
        AuthStatusReason::Malformed,
        "The payload is JSON, but not an object",
        "An unexpected error occurred during authentication",
    )
}

/// `exp`, `nbf` and `iat`, with no leeway at all.
pub(super) fn check_times(payload: &[Member], now: UnixTime) -> Result<(), Refusal> {
    if let Some(exp) = time_claim(payload, "exp")?
        && compare(exp, now).is_le()
    {
        return Err(refuse(
            AuthStatusReason::Expired,
            "The token has expired: `exp` is not after now",
            format!("Token is expired ({exp})"),
        ));
    }
    if let Some(nbf) = time_claim(payload, "nbf")?
        && compare(nbf, now).is_gt()
    {
        return Err(refuse(
            AuthStatusReason::NotYetValid,
            "The token is not valid yet: `nbf` is after now",
            format!("Token is not yet valid ({nbf})"),
        ));
    }
    if let Some(iat) = time_claim(payload, "iat")? {
        if let Number::Long(iat) = iat
            && now.seconds().checked_sub(iat).is_none()
        {
            return Err(refuse(AuthStatusReason::InvalidClaim, "`iat` is out of range", "long overflow"));
        }
        if compare(iat, now.plus_seconds(-MAX_AGE_SECONDS)).is_lt() {
            return Err(refuse(
                AuthStatusReason::TooOldToExchange,
                format!("The token is too old to be exchanged: `iat` is more than {MAX_AGE_SECONDS} s ago"),
                format!("Token is older than max-age ({MAX_AGE_SECONDS})"),
            ));
        }
    }
    Ok(())
}

/// None for what Metabase does not check: absent, null and false.
fn time_claim<'a>(payload: &'a [Member], name: &str) -> Result<Option<Number<'a>>, Refusal> {
    let class = match json::member(payload, name) {
        None | Some(Value::Null | Value::Bool(false)) => return Ok(None),
        Some(value @ Value::Number(_)) => return Ok(Number::of(value)),
        Some(Value::Bool(true)) => "java.lang.Boolean",
        Some(Value::String(_)) => "java.lang.String",
        Some(Value::Array(_)) => "clojure.lang.PersistentVector",
        Some(Value::Object(_) | Value::Deeper) => "clojure.lang.PersistentArrayMap",
    };
    Err(refuse(
        AuthStatusReason::InvalidClaim,
        format!("`{name}` must be a number of seconds"),
        format!("class {class} cannot be cast to class java.lang.Number …"),
    ))
}

fn compare(number: Number<'_>, time: UnixTime) -> Ordering {
    match number {
        Number::Long(_) | Number::Big(_) => number.whole().cmp(&time.seconds()),
        #[expect(clippy::cast_precision_loss, reason = "Clojure compares a double with a long as doubles, too")]
        Number::Double(double) => double.total_cmp(&(time.seconds() as f64)),
    }
}

/// Metabase takes strings, integers and null.
pub(super) fn check_tenant(payload: &[Member], names: &ClaimNames) -> Result<(), Refusal> {
    let value = json::member(payload, &names.tenant);
    let is_integer = || matches!(value.and_then(Number::of), Some(Number::Long(_) | Number::Big(_)));
    if matches!(value, None | Some(Value::Null | Value::String(_))) || is_integer() {
        return Ok(());
    }
    Err(refuse(
        AuthStatusReason::InvalidClaim,
        format!("`{}` must be a string", names.tenant),
        "Value of `@tenant` must be a string",
    ))
}

/// Metabase tests only that the claim is there; what cannot be an account's address fails when the account is looked up.
pub(super) fn check_email(payload: &[Member], names: &ClaimNames) -> Result<(), Refusal> {
    let name = &names.email;
    let no_account = |reason, why| Refusal { reason, why, answer: None };
    match json::member(payload, name) {
        None | Some(Value::Null | Value::Bool(false)) => Err(refuse(
            AuthStatusReason::MissingEmail,
            format!("The e-mail claim `{name}` is missing"),
            "JWT token missing email claim",
        )),
        Some(Value::String(email)) => match email.to_lowercase().parse::<Email>() {
            Ok(_) => Ok(()),
            Err(InvalidEmail::Empty) => Err(no_account(
                AuthStatusReason::MissingEmail,
                format!(
                    "The e-mail claim `{name}` is empty; Metabase lets that pass as an address, then finds no account and \
                     cannot make one"
                ),
            )),
            Err(invalid) => Err(no_account(
                AuthStatusReason::InvalidClaim,
                format!("The e-mail claim `{name}` {invalid}; Metabase finds no account and cannot make one"),
            )),
        },
        Some(Value::Bool(true) | Value::Number(_) | Value::Array(_) | Value::Object(_) | Value::Deeper) => {
            Err(no_account(
                AuthStatusReason::InvalidClaim,
                format!("The e-mail claim `{name}` must be a string; Metabase fails when it looks the account up"),
            ))
        }
    }
}

/// What makes Metabase or the SDK misjudge time without refusing the token.
pub(super) fn warn_of_times(payload: &[Member], now: UnixTime, warnings: &mut Vec<String>) {
    let number = |name| json::member(payload, name).and_then(Number::of).map(Number::whole);
    let is_absent = |name| Value::is_falsy(json::member(payload, name));
    match number("exp") {
        None if is_absent("exp") => warnings.push(
            "`exp` is missing: Metabase never lets the token expire, and the SDK up to 0.56 refuses it while later ones never \
             refresh it."
                .to_owned(),
        ),
        Some(MILLISECONDS_FROM..) => warnings.push(
            "`exp` looks like milliseconds; Metabase reads seconds, so the token expires in thousands of years and the SDK \
             never refreshes it."
                .to_owned(),
        ),
        None | Some(_) => {}
    }
    match number("iat") {
        None if is_absent("iat") => warnings.push(format!(
            "`iat` is missing: Metabase cannot refuse the token after {MAX_AGE_SECONDS} s, so whoever finds it can use it until \
             `exp`."
        )),
        Some(MILLISECONDS_FROM..) => warnings.push(format!(
            "`iat` looks like milliseconds; Metabase reads seconds and never finds the token older than {MAX_AGE_SECONDS} s."
        )),
        Some(iat) if iat > now.seconds() => warnings.push(format!(
            "`iat` is {} s in the future: old Metabase servers refuse that; issue with a clock that is right, and backdate a \
             few seconds.",
            iat.saturating_sub(now.seconds())
        )),
        None | Some(_) => {}
    }
    if number("nbf").is_some() {
        warnings
            .push("`nbf` is checked without any leeway: a clock one second ahead is enough for a refusal.".to_owned());
    }
}
