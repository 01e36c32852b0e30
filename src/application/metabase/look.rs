//! Questions that need no account and have no effect.

use super::{
    Answer, Http, Request, Unreachable,
    exchange::{PATH, SDK},
};

/// `GET /api/health`: whether the server is up.
///
/// # Errors
/// No answer.
pub async fn health(http: &dyn Http) -> Result<Answer, Unreachable> {
    http.send(&Request { path: "/api/health", ..Request::default() }).await
}

/// `GET /api/session/properties`: the settings that anybody may see, among them the version and what is licensed.
///
/// # Errors
/// No answer.
pub async fn public_settings(http: &dyn Http) -> Result<Answer, Unreachable> {
    http.send(&Request { path: "/api/session/properties", ..Request::default() }).await
}

/// Asks, as the SDK does before it has a token, where it gets one. Version 55 and later answer; earlier ones redirect there.
///
/// # Errors
/// No answer.
pub async fn discover(http: &dyn Http) -> Result<Answer, Unreachable> {
    let query = vec![("preferred_method", "jwt")];
    http.send(&Request { path: PATH, query, headers: vec![SDK], ..Request::default() }).await
}

/// Whether the key that signed the token `expired` is the one of guest embedding, which has nothing to do with signing in and is
/// taken for it all the same. An expired token shows nobody anything.
///
/// # Errors
/// No answer.
pub async fn holds_as_embedding_secret(http: &dyn Http, expired: &str) -> Result<bool, Unreachable> {
    let path = format!("/api/embed/dashboard/{expired}");
    let answer = http.send(&Request { path: &path, ..Request::default() }).await?;
    Ok(answer.body.contains("Token is expired"))
}
