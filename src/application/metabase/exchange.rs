//! Exchanges a token for a session, as each version wants it.
//!
//! | version | way |
//! | --- | --- |
//! | about 57 and later | `POST /auth/sso/to_session`, which needs neither the SDK's header nor its switch |
//! | 58 and later without that | `GET /auth/sso?jwt=` with the SDK's header |
//! | 55 to 57 | the same with the hash that discovery gives; without it there would be a session and no word of it |
//! | 50 to 54 | `GET /auth/sso?token=true&jwt=` |
//! | SDK switched off, or before 50 | `GET /auth/sso?jwt=`, which answers with a redirect and a cookie |

use super::{Answer, Http, Method, Refused, Request, look::discover};

/// What a version answers to a path or method that it does not have.
pub(super) const NOT_THERE: [u16; 3] = [404, 405, 501];

pub(super) const SDK: (&str, &str) = ("x-metabase-client", "embedding-sdk-react");
pub(super) const PATH: &str = "/auth/sso";

/// The identifier of the session that the token gave. Whoever gets it ends the session.
///
/// # Errors
/// There is none.
pub async fn exchange(http: &dyn Http, jwt: &str) -> Result<String, Refused> {
    let to_session =
        Request { method: Method::Post, path: "/auth/sso/to_session", json: Some(("jwt", jwt)), ..Request::default() };
    let answer = http.send(&to_session).await?;
    match answer.status {
        200 => return session(&answer, "session_token"),
        status if NOT_THERE.contains(&status) => {}
        _ => return Err(answer.refused()),
    }
    let answer = discover(http).await?;
    match answer.status {
        200 => {
            let hash = answer.member("hash");
            let mut headers = vec![SDK];
            headers.extend(hash.as_deref().map(|hash| ("x-metabase-sdk-jwt-hash", hash)));
            let request = Request { path: PATH, query: vec![("jwt", jwt)], headers, ..Request::default() };
            let answer = http.send(&request).await?;
            if answer.status == 200 { session(&answer, "id") } else { Err(answer.refused()) }
        }
        302 | 303 => {
            let query = vec![("token", "true"), ("jwt", jwt)];
            redirected(&http.send(&Request { path: PATH, query, ..Request::default() }).await?)
        }
        _ if answer.refused() == Refused::SdkDisabled => {
            let query = vec![("jwt", jwt), ("return_to", "/")];
            redirected(&http.send(&Request { path: PATH, query, ..Request::default() }).await?)
        }
        _ => Err(answer.refused()),
    }
}

/// The session of an answer that is JSON in some versions, and in others a redirect with a cookie.
fn redirected(answer: &Answer) -> Result<String, Refused> {
    match answer.status {
        200 => session(answer, "id"),
        302 | 303 => answer.session_cookie.clone().ok_or(Refused::Unknown(answer.status)),
        _ => Err(answer.refused()),
    }
}

fn session(answer: &Answer, member: &str) -> Result<String, Refused> {
    answer.member(member).ok_or(Refused::Unknown(answer.status))
}
