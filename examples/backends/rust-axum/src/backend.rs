//! What is answered: sign-in of demo people, and the endpoint that Metabase's SDK and interactive embedding call.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use anyhow::{bail, ensure};
use axum::extract::{FromRequestParts, RawQuery, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header, request::Parts};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use metabase_token_service::client::{self, CheckRequest, Client, PublicError, SsoQuery, SsoUrl, TokenRequest};
use serde::Deserialize;
use serde_json::{Value, json};
use tower_http::cors::{AllowHeaders, CorsLayer};
use tower_http::set_header::SetResponseHeaderLayer;
use tower_sessions::{Expiry, MemoryStore, Session, SessionManagerLayer, cookie::SameSite, cookie::time::Duration};
use url::Url;

use crate::Settings;

/// An entry of the user database.
#[derive(Clone, Deserialize)]
pub(crate) struct Person {
    id: String,
    email: String,
    first_name: String,
    last_name: String,
    groups: Vec<String>,
    attributes: BTreeMap<String, String>,
}

#[derive(Clone)]
struct Backend {
    people: Arc<HashMap<String, Person>>, // Yours: the user database.
    service: Client,
    instance: String,
}

pub(crate) fn app(settings: &Settings, people: HashMap<String, Person>, service: Client) -> anyhow::Result<Router> {
    let is_secure = settings.public_url.starts_with("https://");
    let same_site = match settings.cookie_samesite.as_str() {
        "Lax" => SameSite::Lax,
        "None" if is_secure => SameSite::None, // Without https, browsers drop the cookie.
        other => bail!("COOKIE_SAMESITE: {other:?} must be Lax, or None with an https PUBLIC_URL"),
    };
    let origins = settings.app_origins.split(',').chain([settings.public_url.as_str()]);
    let origins = origins.map(origin).collect::<anyhow::Result<Vec<_>>>()?;
    let cors = CorsLayer::new()
        .allow_origin(origins.clone())
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(AllowHeaders::mirror_request());
    let sessions = SessionManagerLayer::new(MemoryStore::default()) // Yours: a store that outlives the process.
        .with_name(if is_secure { "__Host-session" } else { "session" }) // No subdomain can plant one with the prefix.
        .with_secure(is_secure)
        .with_same_site(same_site)
        .with_expiry(Expiry::OnInactivity(Duration::hours(8)));
    Ok(Router::new()
        .route("/login", post(login))
        .route("/logout", post(logout))
        .route("/sso/metabase", get(sso))
        .route("/sso/metabase/status", get(status))
        .layer(sessions)
        .layer(cors)
        .layer(from_fn_with_state(origins, guard))
        .layer(SetResponseHeaderLayer::overriding(header::CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .with_state(Backend { people: Arc::new(people), service, instance: settings.metabase_instance.clone() }))
}

/// Whose pages may read answers: the app's, and this backend's own.
fn origin(text: &str) -> anyhow::Result<HeaderValue> {
    let is_origin = Url::parse(text).is_ok_and(|url| url.origin().ascii_serialization() == text);
    ensure!(is_origin, "APP_ORIGINS, PUBLIC_URL: {text:?} is not an origin such as https://app.example.com");
    Ok(text.parse()?)
}

/// CORS only hides answers; this keeps other sites from signing people in and out.
async fn guard(State(origins): State<Vec<HeaderValue>>, request: Request, next: Next) -> Result<Response> {
    if request.headers().get(header::ORIGIN).is_some_and(|origin| !origins.contains(origin)) {
        return Err(Failure(PublicError::new(StatusCode::FORBIDDEN, "FOREIGN_ORIGIN", "Not from this site.")));
    }
    Ok(next.run(request).await)
}

#[derive(Deserialize)]
struct Login {
    user: String,
}

async fn login(State(backend): State<Backend>, session: Session, Json(login): Json<Login>) -> Result<StatusCode> {
    // Yours: prove who it is. The demo believes a name.
    if !backend.people.contains_key(&login.user) {
        return Err(Failure(PublicError::new(StatusCode::UNAUTHORIZED, "UNKNOWN_USER", "There is no such person.")));
    }
    session.cycle_id().await?;
    session.insert("user", login.user).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn logout(session: Session) -> Result<StatusCode> {
    session.flush().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who is asking: the session says so, and nothing else in the request.
impl FromRequestParts<Backend> for Person {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, backend: &Backend) -> Result<Self> {
        let nobody = || Failure(PublicError::new(StatusCode::UNAUTHORIZED, "NOT_SIGNED_IN", "Sign in first."));
        let session = Session::from_request_parts(parts, backend).await.map_err(|_| nobody())?;
        let name: Option<String> = session.get("user").await?;
        name.and_then(|name| backend.people.get(&name).cloned()).ok_or_else(nobody)
    }
}

async fn sso(State(backend): State<Backend>, person: Person, RawQuery(query): RawQuery) -> Result<Response> {
    let query = SsoQuery::parse(&query.unwrap_or_default());
    let issued = backend.issue(person, (!query.wants_json).then_some(query.return_to)).await?;
    if query.wants_json {
        return Ok(Json(json!({ "jwt": issued.token.expose() })).into_response());
    }
    let url = issued.sso_url.as_ref().map_or("", SsoUrl::expose);
    Ok((StatusCode::FOUND, [(header::LOCATION, url)]).into_response())
}

async fn status(State(backend): State<Backend>, person: Person) -> Result<Json<Value>> {
    let issued = backend.issue(person, None).await?;
    let judged = backend.service.check(CheckRequest::token(&issued.token).instance(&backend.instance)).await?;
    warn(&judged.warnings);
    Ok(Json(json!({ "status": judged.status_word(), "reason": judged.reason_word(), "message": judged.message })))
}

impl Backend {
    /// A token for this person, for this one request: never kept. With `return_to`, also the URL to send them to.
    async fn issue(&self, person: Person, return_to: Option<String>) -> Result<client::IssuedToken> {
        let Person { id, email, first_name, last_name, groups, attributes } = person;
        let request = TokenRequest::new(client::Person { id, email, first_name, last_name }).instance(&self.instance);
        let request = request.groups(groups).attributes(attributes);
        let request = return_to.into_iter().fold(request, TokenRequest::return_to);
        let issued = self.service.issue(request).await?;
        warn(&issued.warnings);
        Ok(issued)
    }
}

/// For operators, as all that the service says.
fn warn(warnings: &[String]) {
    warnings.iter().for_each(|warning| tracing::warn!("token service: {warning}"));
}

/// An answer for the browser: whatever went wrong, and nothing of what the service said.
struct Failure(PublicError);

type Result<T, E = Failure> = std::result::Result<T, E>;

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        tracing::warn!("{error:#}"); // Never holds a token.
        Self(error.downcast_ref().map_or(PublicError::MISCONFIGURED, client::Error::public))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let PublicError { status, code, message, .. } = self.0;
        let retry_after = matches!(status.as_u16(), 429 | 503).then_some([(header::RETRY_AFTER, "1")]);
        (status, retry_after, Json(json!({ "status": "error", "code": code, "message": message }))).into_response()
    }
}
