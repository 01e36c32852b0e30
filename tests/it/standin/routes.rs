//! What the stand-in answers, path by path.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::{
    Json,
    body::Bytes,
    extract::{Query, Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};

use super::{Era, Fault, Settings, Shared, now, token};

pub(super) async fn answer(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<HashMap<String, String>>,
    method: Method,
    headers: HeaderMap,
    request: Request,
) -> Response {
    shared.requests.fetch_add(1, Ordering::Relaxed);
    let path = request.uri().path().to_owned();
    shared.data.lock().unwrap().asked.push(format!("{method} {path}"));
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let fault = shared.settings.lock().unwrap().fault.clone();
    let mut response = match fault {
        Fault::Starting if path == "/api/health" => {
            (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "initializing", "progress": 0.4}))).into_response()
        }
        Fault::Starting => {
            (StatusCode::SERVICE_UNAVAILABLE, "Metabase is still initializing. Please sit tight...").into_response()
        }
        Fault::Hang => {
            tokio::time::sleep(Duration::from_hours(1)).await;
            StatusCode::OK.into_response()
        }
        Fault::Reset => {
            let broken = tokio_stream::iter([Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("reset"))]);
            axum::body::Body::from_stream(broken).into_response()
        }
        Fault::Answer(status, text) => (StatusCode::from_u16(status).unwrap(), text).into_response(),
        Fault::DeleteHangs if method == Method::DELETE => std::future::pending().await,
        Fault::None | Fault::DeleteFails(_) | Fault::DeleteHangs => {
            route(&shared, &method, &path, &query, &headers, &body)
        }
    };
    let now = now() + shared.settings.lock().unwrap().skew;
    let date = httpdate::fmt_http_date(std::time::UNIX_EPOCH + Duration::from_secs(now.unsigned_abs()));
    response.headers_mut().insert(header::DATE, date.parse().unwrap());
    response
}

fn route(
    shared: &Shared,
    method: &Method,
    path: &str,
    query: &HashMap<String, String>,
    headers: &HeaderMap,
    body: &[u8],
) -> Response {
    let is_at_least = |era: Era| shared.settings.lock().unwrap().era as u8 >= era as u8;
    match (method.as_str(), path) {
        ("GET", "/api/health") => Json(json!({"status": "ok"})).into_response(),
        ("GET", "/api/session/properties") => properties(&shared.settings.lock().unwrap()),
        ("GET", "/api/user/current") => current_user(shared, headers),
        ("DELETE", "/api/session") => end_session(shared, headers),
        ("POST", "/auth/sso/to_session") if is_at_least(Era::ToSession) => to_session(shared, body),
        ("GET", "/auth/sso") => sso(shared, query, headers),
        ("POST", "/auth/sso") => {
            (StatusCode::NOT_IMPLEMENTED, "<html>POST not valid for JWT SSO requests</html>").into_response()
        }
        _ => (StatusCode::NOT_FOUND, "<!DOCTYPE html><html>Not found.</html>").into_response(),
    }
}

fn properties(settings: &Settings) -> Response {
    let tag = match settings.era {
        Era::TokenTrue => "v1.53.8",
        Era::Hash => "v1.55.6",
        Era::Plain => "v1.58.3",
        Era::ToSession => "v1.61.1",
    };
    let features = json!({ "sso_jwt": settings.is_licensed, "embedding_sdk": settings.is_licensed, "tenants": false });
    let tag = if settings.is_enterprise { tag.to_owned() } else { tag.replacen("v1", "v0", 1) };
    Json(json!({ "version": { "tag": tag }, "token-features": features })).into_response()
}

fn current_user(shared: &Shared, headers: &HeaderMap) -> Response {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let data = shared.data.lock().unwrap();
    if let Some(user) = data.sessions.get(&text("x-metabase-session")).map(|email| &data.users[email]) {
        return Json(user.clone()).into_response();
    }
    if text("x-api-key") == shared.settings.lock().unwrap().api_key {
        return Json(json!({"email": "api-key-user-1@api-key.invalid", "first_name": "dev", "last_name": ""}))
            .into_response();
    }
    (StatusCode::UNAUTHORIZED, "Unauthenticated").into_response()
}

fn end_session(shared: &Shared, headers: &HeaderMap) -> Response {
    let mut data = shared.data.lock().unwrap();
    if let Fault::DeleteFails(times) = shared.settings.lock().unwrap().fault
        && data.deletes_failed < times
    {
        data.deletes_failed += 1;
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let id = headers.get("x-metabase-session").and_then(|value| value.to_str().ok()).unwrap_or_default();
    match data.sessions.remove(id) {
        Some(_) => StatusCode::NO_CONTENT.into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// The session of a token; the account is made, or changed, on the way.
#[expect(clippy::result_large_err, reason = "the refusal is the answer")]
fn sign_in(shared: &Shared, jwt: &str) -> Result<(String, Value), Response> {
    let settings = shared.settings.lock().unwrap();
    let refuse = |message: String| (StatusCode::UNAUTHORIZED, message).into_response();
    let claims = token::unsign(jwt, &settings.secret, now() + settings.skew).map_err(refuse)?;
    let email = claims["email"].as_str().map(str::to_lowercase);
    let email = email.ok_or_else(|| refuse("JWT token missing email claim".to_owned()))?;
    if !settings.is_provisioning && !shared.data.lock().unwrap().users.contains_key(&email) {
        let message = "Sorry, but you'll need a Stand-in account to view this page. Please contact your administrator.";
        return Err(refuse(message.to_owned()));
    }
    let mut attributes = token::attributes(&claims);
    attributes.extend(settings.by_hand.clone());
    drop(settings);
    let user = json!({
        "email": email,
        "first_name": claims["first_name"],
        "last_name": claims["last_name"],
        "is_superuser": claims["groups"].as_array().is_some_and(|groups| groups.contains(&json!("Administrators"))),
        "attributes": attributes,
    });
    Ok((shared.session(&user), claims))
}

fn not_enabled(settings: &Settings) -> Option<Response> {
    let refuse = |status: u16, body: Value| Some((StatusCode::from_u16(status).unwrap(), Json(body)).into_response());
    if !settings.is_enterprise {
        let message = "The auth/sso endpoint only exists in enterprise builds";
        return refuse(400, json!({"message": message, "status": "ee-build-required"}));
    }
    if !settings.is_licensed {
        let message = "JWT-based authentication is a paid feature not currently available to your instance.";
        return refuse(402, json!({"message": message, "status": "error-premium-feature-not-available"}));
    }
    if !settings.is_sso_on {
        let message = "SSO has not been enabled and/or configured";
        return refuse(400, json!({"message": message, "status": "error-sso-disabled"}));
    }
    None
}

fn to_session(shared: &Shared, body: &[u8]) -> Response {
    let settings = shared.settings.lock().unwrap();
    if settings.is_licensed && settings.is_enterprise && !settings.is_sso_on {
        return (StatusCode::BAD_REQUEST, "JWT authentication is not enabled").into_response();
    }
    if let Some(refusal) = not_enabled(&settings) {
        return refusal;
    }
    drop(settings);
    let jwt: Value = serde_json::from_slice(body).unwrap_or_default();
    match sign_in(shared, jwt["jwt"].as_str().unwrap_or_default()) {
        Ok((id, _)) => Json(json!({ "session_token": id })).into_response(),
        Err(refusal) => refusal,
    }
}

fn sso(shared: &Shared, query: &HashMap<String, String>, headers: &HeaderMap) -> Response {
    const HASH: &str = "an instance-issued hash";
    let (era, is_sdk_on) = {
        let settings = shared.settings.lock().unwrap();
        if let Some(refusal) = not_enabled(&settings) {
            return refusal;
        }
        (settings.era, settings.is_sdk_on)
    };
    let is_sdk = era != Era::TokenTrue && headers.contains_key("x-metabase-client");
    let discovery = || {
        let mut found = json!({ "url": "https://app.example.com/sso/metabase", "method": "jwt" });
        if era == Era::Hash {
            found["hash"] = json!(HASH);
        }
        Json(found).into_response()
    };
    let disabled = || {
        let message = "Embedding SDK for React is disabled. Enable it in the embedding settings.";
        let body = json!({ "status": "error-embedding-sdk-disabled", "message": message });
        (StatusCode::PAYMENT_REQUIRED, Json(body)).into_response()
    };
    let Some(jwt) = query.get("jwt") else {
        return match (is_sdk, is_sdk_on) {
            (true, true) => discovery(),
            (true, false) => disabled(),
            (false, _) => {
                (StatusCode::FOUND, [(header::LOCATION, "https://app.example.com/sso/metabase")]).into_response()
            }
        };
    };
    // The session comes before everything else, and stays whatever is answered.
    let (id, claims) = match sign_in(shared, jwt) {
        Ok(signed_in) => signed_in,
        Err(refusal) => return refusal,
    };
    let session = json!({ "status": "ok", "id": id, "exp": claims["exp"], "iat": claims["iat"] });
    let has_hash = headers.get("x-metabase-sdk-jwt-hash").is_some_and(|hash| hash == HASH);
    match era {
        Era::TokenTrue if query.get("token").is_some_and(|token| token == "true") => Json(session).into_response(),
        Era::Hash | Era::Plain | Era::ToSession if is_sdk && !is_sdk_on => disabled(),
        Era::Hash if is_sdk && !has_hash => discovery(),
        Era::Hash | Era::Plain | Era::ToSession if is_sdk => Json(session).into_response(),
        Era::TokenTrue | Era::Hash | Era::Plain | Era::ToSession => {
            let cookie = format!("metabase.SESSION={id}; HttpOnly; Path=/; SameSite=Lax");
            (StatusCode::FOUND, [(header::LOCATION, "/".to_owned()), (header::SET_COOKIE, cookie)]).into_response()
        }
    }
}
