//! Carries requests to a Metabase instance.

use std::{
    error::{self, Error as _},
    fmt, io,
    path::Path,
    time::Duration,
};

use httpdate::parse_http_date;
use reqwest::{Client, Response, header};
use thiserror::Error;
use tokio::{sync::OnceCell, task::spawn_blocking};
use url::Url;

use crate::{
    application::metabase::{Answer, BoxFuture, Http, Method, Request, Unreachable},
    domain::instance::InstanceUrl,
    http_client::{self, InvalidClient},
    regular_file,
};

/// Of a whole exchange. Whoever waits for an answer waits less; what has been begun is seen to its end, for it may have made a
/// session.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of an answer that are read; a person has a few thousand.
const MAX_BODY_BYTES: usize = 256 * 1024;
/// Bytes of a CA file.
const MAX_CA_BYTES: usize = 1024 * 1024;

/// A client for one instance.
pub struct MetabaseHttp {
    client: OnceCell<Client>,
    base: Url,
}

/// Why no client can be made.
#[derive(Debug, Error)]
pub enum MetabaseHttpError {
    /// The CAs cannot be read.
    #[error("{path}: cannot be read: {error}")]
    CaFile {
        /// The file.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// The CAs cannot be used.
    #[error("{0}")]
    Client(InvalidClient),
}

const NO_CLIENT: Unreachable =
    Unreachable { what: "cannot be asked: the system has no CAs to trust; name the instance's with `api_ca`" };

impl MetabaseHttp {
    /// A client of the instance at `base`, which trusts the CAs in the file `ca`, or those of the system.
    ///
    /// # Errors
    /// The CAs cannot be used.
    pub fn new(base: &InstanceUrl, ca: Option<&Path>) -> Result<Self, MetabaseHttpError> {
        let read = |path: &Path| {
            regular_file::read(path, MAX_CA_BYTES)
                .map_err(|error| MetabaseHttpError::CaFile { path: path.display().to_string(), error })
        };
        let client = match ca.map(read).transpose()? {
            Some(pem) => {
                let client = http_client::build(TIMEOUT, Some(&pem)).map_err(MetabaseHttpError::Client)?;
                OnceCell::new_with(Some(client))
            }
            // Reading the CAs of the system takes too long for the start, and may fail where nobody ever asks.
            None => OnceCell::new(),
        };
        Ok(Self { client, base: base.as_url().clone() })
    }

    async fn client(&self) -> Result<&Client, Unreachable> {
        let build = || async {
            let built = spawn_blocking(|| http_client::build(TIMEOUT, None)).await;
            built.ok().and_then(Result::ok).ok_or(NO_CLIENT)
        };
        self.client.get_or_try_init(build).await
    }

    async fn ask(&self, request: &Request<'_>) -> Result<Answer, Unreachable> {
        let mut url = self.base.clone();
        let path = format!("{}{}", url.path().trim_end_matches('/'), request.path);
        url.set_path(&path);
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        let method = match request.method {
            Method::Delete => reqwest::Method::DELETE,
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
        };
        let mut builder = self.client().await?.request(method, url);
        for (name, value) in &request.headers {
            builder = builder.header(*name, *value);
        }
        if let Some((name, value)) = request.json {
            let json = serde_json::json!({ name: value }).to_string();
            builder = builder.header(header::CONTENT_TYPE, "application/json").body(json);
        }
        let response = builder.send().await.map_err(|error| unreachable(&error))?;
        read(response).await
    }
}

impl Http for MetabaseHttp {
    fn send<'a>(&'a self, request: &'a Request<'a>) -> BoxFuture<'a, Result<Answer, Unreachable>> {
        Box::pin(self.ask(request))
    }
}

async fn read(mut response: Response) -> Result<Answer, Unreachable> {
    let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let date = text(header::DATE).and_then(|date| parse_http_date(date).ok());
    let date = date.and_then(|date| date.duration_since(std::time::UNIX_EPOCH).ok());
    let cookies = response.headers().get_all(header::SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
    let session_cookie = cookies
        .filter_map(|cookie| cookie.split(';').next()?.split_once('='))
        .find(|(name, _)| matches!(*name, "metabase.SESSION" | "metabase.EMBEDDED_SESSION"))
        .map(|(_, id)| id.to_owned());
    let answer = Answer {
        status: response.status().as_u16(),
        date: date.and_then(|date| i64::try_from(date.as_secs()).ok()),
        location: text(header::LOCATION).map(str::to_owned),
        session_cookie,
        body: String::new(),
    };
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(&error))? {
        let room = MAX_BODY_BYTES - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == MAX_BODY_BYTES {
            break;
        }
    }
    Ok(Answer { body: String::from_utf8_lossy(&body).into_owned(), ..answer })
}

/// Never the error's own text, which quotes the URL, and with it the token.
fn unreachable(error: &reqwest::Error) -> Unreachable {
    let what = if error.is_timeout() {
        "does not answer in time"
    } else if error.is_connect() {
        connecting(error)
    } else if error.is_builder() {
        "cannot be asked with this credential: it holds characters that no header can"
    } else {
        "broke the connection or answered something that is not HTTP"
    };
    Unreachable { what }
}

/// Why there is no connection.
fn connecting(error: &reqwest::Error) -> &'static str {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.to_string().starts_with("dns error") {
            return "has a host name that does not resolve: is its URL right?";
        }
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return tls(error);
        }
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            return "refuses the connection: nothing listens at the port of its URL";
        }
        // What an I/O error wraps is not its source, but stands in its place.
        let wrapped = io.and_then(io::Error::get_ref).map(|inner| inner as &(dyn error::Error + 'static));
        cause = wrapped.or_else(|| error.source());
    }
    "cannot be connected to: is its URL right?"
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library knows dozens of errors")]
fn tls(error: &rustls::Error) -> &'static str {
    use rustls::CertificateError::{
        Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet, NotValidYetContext,
        UnknownIssuer,
    };
    match error {
        rustls::Error::InvalidCertificate(UnknownIssuer) => {
            "has a certificate of a CA that is not trusted: name the CA with `api_ca`"
        }
        rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }) => {
            "has a certificate for another name than its URL's host"
        }
        rustls::Error::InvalidCertificate(Expired | ExpiredContext { .. }) => "has a certificate that has expired",
        rustls::Error::InvalidCertificate(NotValidYet | NotValidYetContext { .. }) => {
            "has a certificate that is not valid yet; or the clock here is slow"
        }
        rustls::Error::InvalidCertificate(_) => "has a certificate that cannot be accepted",
        rustls::Error::InvalidMessage(_) => "does not speak TLS at the port of its URL: is it http there?",
        _ => "and this service agree on no TLS",
    }
}

impl fmt::Debug for MetabaseHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetabaseHttp").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}
