//! What a Metabase server says about a token, a session or an API key, in whatever way its version says it.
//!
//! Every question is a plain HTTP request; [`Http`] carries it. Which requests a version understands is seen from its
//! answers, never guessed from a number.

mod answer;
mod exchange;
mod look;

use std::{fmt, future::Future, pin::Pin};

use self::exchange::NOT_THERE;
pub use self::{
    answer::{Answer, Refused},
    exchange::exchange,
    look::{discover, health, holds_as_embedding_secret, public_settings},
};

/// A future that a trait object can return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Carries requests to one Metabase instance.
pub trait Http: fmt::Debug + Send + Sync {
    /// Sends a request and reads its answer; follows no redirect, keeps no cookie.
    fn send<'a>(&'a self, request: &'a Request<'a>) -> BoxFuture<'a, Result<Answer, Unreachable>>;
}

/// A request to Metabase.
#[derive(Default)]
pub struct Request<'a> {
    /// GET where there is none.
    pub method: Method,
    /// Below the instance's URL, with a leading slash.
    pub path: &'a str,
    /// Decoded.
    pub query: Vec<(&'static str, &'a str)>,
    /// Besides what every request has.
    pub headers: Vec<(&'static str, &'a str)>,
    /// Goes as a JSON object with this one member.
    pub json: Option<(&'static str, &'a str)>,
}

/// Method of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// DELETE
    Delete,
    /// GET
    #[default]
    Get,
    /// POST
    Post,
}

/// No answer: no connection, a broken one, no answer in time, or one that is too large. Says no more than that, for causes
/// may quote a URL, and URLs hold tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreachable {
    /// What happened, as the end of "Metabase …".
    pub what: &'static str,
}

/// What authorises a question about a person.
#[derive(Clone, Copy)]
pub enum Authorization<'a> {
    /// A Metabase API key.
    ApiKey(&'a str),
    /// A Metabase session.
    Session(&'a str),
}

impl<'a> Authorization<'a> {
    const fn header(self) -> (&'static str, &'a str) {
        match self {
            Self::ApiKey(key) => ("x-api-key", key),
            Self::Session(id) => ("x-metabase-session", id),
        }
    }
}

/// Whose session or key it is; none = Metabase does not know it.
///
/// # Errors
/// Metabase did not tell.
pub async fn current_user(http: &dyn Http, authorization: Authorization<'_>) -> Result<Option<Answer>, Refused> {
    let request = Request { path: "/api/user/current", headers: vec![authorization.header()], ..Request::default() };
    let answer = http.send(&request).await?;
    match answer.status {
        200 if answer.json().is_some_and(|user| user["email"].is_string()) => Ok(Some(answer)),
        401 => Ok(None),
        _ => Err(answer.refused()),
    }
}

/// Ends a session.
///
/// # Errors
/// It may still be there.
pub async fn end_session(http: &dyn Http, session: &str) -> Result<(), Refused> {
    let headers = vec![Authorization::Session(session).header()];
    let request = Request { method: Method::Delete, path: "/api/session", headers, ..Request::default() };
    let answer = http.send(&request).await?;
    match answer.status {
        // Gone already.
        200 | 204 | 404 => Ok(()),
        _ => Err(answer.refused()),
    }
}

/// Asks what Metabase says to `expired`, a token that is past its `exp`: whether it holds the secret that signed it, without
/// any effect, for the signature is checked first and a person looked up last.
///
/// # Errors
/// Always; [`Refused::Expired`] is the good answer.
pub async fn probe(http: &dyn Http, expired: &str) -> (Refused, Option<i64>) {
    let by_post = Request {
        method: Method::Post,
        path: "/auth/sso/to_session",
        json: Some(("jwt", expired)),
        ..Request::default()
    };
    let by_get = Request { path: "/auth/sso", query: vec![("jwt", expired)], ..Request::default() };
    let answer = match http.send(&by_post).await {
        Ok(answer) if NOT_THERE.contains(&answer.status) => http.send(&by_get).await,
        other => other,
    };
    match answer {
        Ok(answer) => (answer.refused(), answer.date),
        Err(unreachable) => (unreachable.into(), None),
    }
}

#[cfg(test)]
mod tests;
