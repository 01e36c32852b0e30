//! The HTTP side: sign-in of demo people, and the endpoint that Metabase's SDK and interactive embedding call.

mod settings;
#[cfg(test)]
mod tests;
mod token_service;

use std::{collections::HashMap, fs, sync::Arc};

use anyhow::{Context as _, Result};
use axum::{
    Json, Router,
    extract::{FromRequestParts, RawQuery, Request, State},
    http::{HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use metabase_token_service::client::SsoUrl;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tower_http::cors::{AllowHeaders, CorsLayer};
use tower_sessions::{Expiry, MemoryStore, Session, SessionManagerLayer, cookie::SameSite, cookie::time::Duration};
use url::form_urlencoded;

use settings::Settings;
use token_service::{Person, TokenService};

/// An answer for the browser: status, code and message.
#[derive(Debug)]
pub struct Failure(StatusCode, &'static str, &'static str);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Self(status, code, message) = self;
        let mut answer = (status, Json(json!({ "status": "error", "code": code, "message": message }))).into_response();
        if [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&status) {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        answer
    }
}

impl From<tower_sessions::session::Error> for Failure {
    fn from(error: tower_sessions::session::Error) -> Self {
        tracing::error!(%error, "session store");
        Self(StatusCode::INTERNAL_SERVER_ERROR, "NO_SESSION", "Nobody can sign in at the moment.")
    }
}

struct Backend {
    origins: Vec<String>,
    people: HashMap<String, Person>, // Yours: the user database.
    tokens: TokenService,
}

/// Who is asking: the session says so, and nothing else in the request.
struct SignedIn(Person);

impl FromRequestParts<Arc<Backend>> for SignedIn {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, backend: &Arc<Backend>) -> Result<Self, Failure> {
        let nobody = || Failure(StatusCode::UNAUTHORIZED, "NOT_SIGNED_IN", "Sign in first.");
        let session = Session::from_request_parts(parts, backend).await.map_err(|_| nobody())?;
        let name: String = session.get("user").await?.ok_or_else(nobody)?;
        backend.people.get(&name).cloned().map(Self).ok_or_else(nobody)
    }
}

fn app(settings: &Settings, people: HashMap<String, Person>, tokens: TokenService) -> Result<Router> {
    let origins: Vec<HeaderValue> = settings.origins.iter().map(|origin| origin.parse()).collect::<Result<_, _>>()?;
    let cors = CorsLayer::new()
        .allow_origin(origins)
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(AllowHeaders::mirror_request());
    let sessions = SessionManagerLayer::new(MemoryStore::default()) // Yours: a store that outlives the process.
        .with_name(if settings.secure { "__Host-session" } else { "session" }) // No subdomain can plant one with the prefix.
        .with_secure(settings.secure)
        .with_same_site(if settings.cross_site { SameSite::None } else { SameSite::Lax })
        .with_expiry(Expiry::OnInactivity(Duration::hours(8)));
    let backend = Arc::new(Backend { origins: settings.origins.clone(), people, tokens });
    Ok(Router::new()
        .route("/login", post(login))
        .route("/logout", post(logout))
        .route("/sso/metabase", get(sso))
        .route("/sso/metabase/status", get(status))
        .layer(sessions)
        .layer(cors)
        .layer(from_fn_with_state(Arc::clone(&backend), guard))
        .with_state(backend))
}

/// CORS only hides answers; this keeps other sites from signing people in and out.
async fn guard(State(backend): State<Arc<Backend>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN);
    let is_ours = |origin: &HeaderValue| backend.origins.iter().any(|ours| ours == origin);
    let mut answer = if origin.is_none_or(is_ours) {
        next.run(request).await
    } else {
        Failure(StatusCode::FORBIDDEN, "FOREIGN_ORIGIN", "Not from this site.").into_response()
    };
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[derive(Deserialize)]
struct Login {
    user: String,
}

async fn login(
    State(backend): State<Arc<Backend>>,
    session: Session,
    Json(login): Json<Login>,
) -> Result<StatusCode, Failure> {
    // Yours: prove who it is. The demo believes a name.
    if !backend.people.contains_key(&login.user) {
        return Err(Failure(StatusCode::UNAUTHORIZED, "UNKNOWN_USER", "There is no such person."));
    }
    session.cycle_id().await?;
    session.insert("user", login.user).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn logout(session: Session) -> Result<StatusCode, Failure> {
    session.flush().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn sso(
    State(backend): State<Arc<Backend>>,
    SignedIn(person): SignedIn,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let (wants_json, return_to) = sso_query(&query.unwrap_or_default());
    if wants_json {
        let issued = backend.tokens.issue(person, None).await?;
        return Ok(Json(json!({ "jwt": issued.token.expose() })).into_response());
    }
    let issued = backend.tokens.issue(person, Some(return_to)).await?;
    let url = issued.sso_url.as_ref().map_or("", SsoUrl::expose);
    Ok((StatusCode::FOUND, [(header::LOCATION, url)]).into_response())
}

async fn status(State(backend): State<Arc<Backend>>, SignedIn(person): SignedIn) -> Result<Json<Value>, Failure> {
    let judged = backend.tokens.check(person).await?;
    let (status, reason) = (judged.status_word(), judged.reason_word());
    Ok(Json(json!({ "status": status, "reason": reason, "message": judged.message })))
}

/// Whether the SDK asks (`response=json`), and where Metabase wants the person back. Metabase appends `return_to` at the
/// end, unencoded: then everything behind it belongs to it, `?` and `&` too.
fn sso_query(query: &str) -> (bool, String) {
    let query = format!("&{query}");
    let (own, unencoded) = match query.split_once("&return_to=") {
        Some((before, rest)) if rest.contains('?') => (before, Some(rest.to_owned())),
        _ => (query.as_str(), None),
    };
    let parameter = |name| form_urlencoded::parse(own.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value);
    let return_to = unencoded.or_else(|| parameter("return_to").map(Into::into)).unwrap_or_default();
    (parameter("response").is_some_and(|value| value == "json"), return_to)
}

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt().init();
    let settings = Settings::from_env()?;
    let people = fs::read_to_string(&settings.people_file).context("PEOPLE_FILE")?;
    let people = serde_json::from_str(&people).context("PEOPLE_FILE")?;
    let app = app(&settings, people, TokenService::connect(&settings)?)?;
    let listener = tokio::net::TcpListener::bind(&settings.listen).await.context("LISTEN")?;
    tracing::info!("listening on http://{}", listener.local_addr()?);
    let mut sigterm = signal(SignalKind::terminate())?;
    let stop = async move { sigterm.recv().await.unwrap_or_default() };
    axum::serve(listener, app).with_graceful_shutdown(stop).await.context("serving") // Answers what is in flight.
}
