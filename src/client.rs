//! A client for backends in Rust: typed, over TLS or within this machine, each call in bounded time.
//!
//! ```no_run
//! use metabase_token_service::client::{Client, Error, Person, TokenRequest};
//!
//! # async fn sign_in() -> Result<String, Box<dyn std::error::Error>> {
//! let client = Client::builder("https://mts.example.com:50051")
//!     .ca_certificate(std::fs::read("/run/secrets/mts/ca.crt")?)
//!     .identity(std::fs::read("/run/secrets/mts/tls.crt")?, std::fs::read("/run/secrets/mts/tls.key")?)
//!     .connect_lazy()?;
//!
//! let ada = Person {
//!     id: "1815".into(),
//!     email: "ada@example.com".into(),
//!     first_name: "Ada".into(),
//!     last_name: "Lovelace".into(),
//! };
//! let request = TokenRequest::new(ada).groups(["Customers"]).attribute("customer_id", "42");
//! match client.issue(request).await {
//!     Ok(issued) => Ok(issued.token.expose().to_owned()), // Answer with it; never keep or log it.
//!     Err(Error::Denied(refusal)) => Err(format!("no grant covers her: {}", refusal.reason).into()),
//!     Err(error) => Err(error.into()),
//! }
//! # }
//! ```
//!
//! **Time.** A call ends within [`DEADLINE`], with all its tries, unless [`Builder::deadline`] says otherwise. The service is told.
//!
//! **Tries.** UNAVAILABLE alone is tried again, up to [`TRIES`] times in all, after a pause that grows and has chance in it, and not
//! before the service's `RetryInfo` allows; never when the pause would outlast the deadline. A live check of a token signs its person in
//! at Metabase, and is not repeated. What was refused for its rate is not tried again: [`Error::RateExceeded`] says when it may be.
//!
//! **Browsers.** [`SsoQuery`] reads what Metabase and its SDK ask of a backend, and [`Error::public`] is what a browser may be told.
//!
//! **Certificates** are read once. Make a new client when they are renewed, or leave TLS to the sidecar of a mesh.

mod answer;
mod connect;
mod endpoint;
mod error;
mod request;
mod retry;
mod token;

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Request, Response, Status, transport::Channel};

pub use self::{
    answer::{IssuedToken, Judgement},
    connect::{Builder, ConnectError},
    endpoint::{PublicError, SsoQuery},
    error::{Error, Refusal, Violation},
    request::{CheckRequest, Person, Tenant, TokenRequest},
    retry::TRIES,
    token::{SsoUrl, Token},
};
use crate::proto::metabase_token_service_client::MetabaseTokenServiceClient;
pub use crate::proto::{AuthStatus, AuthStatusReason};

/// How long a call may take with all its tries, unless told otherwise.
pub const DEADLINE: Duration = Duration::from_secs(2);

/// No call takes longer, whatever its deadline: beyond it are times that no clock can tell.
const LONGEST_DEADLINE: Duration = Duration::from_hours(24);

/// A connection to the service, which clones share. It connects again by itself when it was lost.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
    deadline: Duration,
    tries: u32,
}

impl Client {
    /// For the service at `https://HOST:PORT`, `http://HOST:PORT` (plaintext: on this machine, unless
    /// [`Builder::allow_plaintext`]) or `unix:/PATH`.
    pub fn builder(address: impl Into<String>) -> Builder {
        Builder::new(address.into())
    }

    /// Gets a token for one person, good for one sign-in.
    ///
    /// # Errors
    /// The service refused, or could not be asked in time.
    pub async fn issue(&self, request: TokenRequest) -> Result<IssuedToken, Error> {
        let request = request.into_message()?;
        let answer = self.call(request, true, async |mut stub, request| stub.issue_metabase_token(request).await);
        IssuedToken::from_answer(answer.await?)
    }

    /// What Metabase would say to a credential. A bad credential is no error but the answer.
    ///
    /// # Errors
    /// The service refused, or could not be asked in time.
    pub async fn check(&self, request: CheckRequest) -> Result<Judgement, Error> {
        let is_repeatable = request.is_repeatable();
        let answer = self.call(request.into_message(), is_repeatable, async |mut stub, request| {
            stub.check_auth_status(request).await
        });
        Ok(Judgement::from_answer(answer.await?.into_inner()))
    }

    /// The connection, for other services behind the same address, such as `grpc.health.v1`. Neither deadline nor tries apply.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    async fn call<Q: Clone, A>(
        &self,
        message: Q,
        is_repeatable: bool,
        rpc: impl AsyncFn(MetabaseTokenServiceClient<Channel>, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<Response<A>, Error> {
        let end = Instant::now() + self.deadline.min(LONGEST_DEADLINE);
        let mut tried = 0;
        loop {
            let mut request = Request::new(message.clone());
            request.set_timeout(end.saturating_duration_since(Instant::now()));
            let stub = MetabaseTokenServiceClient::new(self.channel.clone());
            let status = match timeout_at(end, rpc(stub, request)).await {
                Ok(Ok(answer)) => return Ok(answer),
                // tonic keeps the deadline, too, and calls it CANCELLED.
                Ok(Err(status)) if status.code() != Code::Cancelled || Instant::now() < end => status,
                Ok(Err(_)) | Err(_) => return Err(Error::no_answer_within(self.deadline)),
            };
            tried += 1;
            let may_repeat = is_repeatable && status.code() == Code::Unavailable && tried < self.tries;
            let error = Error::from(status);
            let pause = retry::pause(tried, error.retry_after(), fastrand::f64());
            if !may_repeat || pause >= end.saturating_duration_since(Instant::now()) {
                return Err(error);
            }
            sleep(pause).await;
        }
    }
}
