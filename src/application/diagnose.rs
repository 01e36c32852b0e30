//! Examines a Metabase instance from outside, without any effect on it, and names what keeps people from signing in.

mod canary;
mod clock;
mod secret;
mod server;
mod single_sign_on;

use std::time::Duration;

use tokio::time::timeout;

pub use self::canary::{Canary, sign_in};
use super::{
    Clock,
    generation::InstanceWithKey,
    metabase::{Answer, BoxFuture, Http, Request, Unreachable},
    signing_key::SigningKey,
};
use crate::domain::secret::LookAlike;

/// What is examined. The order is that of the examination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// The configuration and every file it names.
    Configuration,
    /// Where the audit log goes.
    Audit,
    /// The store that replicas share, of whose an account is.
    Accounts,
    /// The protection of the process itself.
    Hardening,
    /// The address of the instance.
    Url,
    /// A connection.
    Reachable,
    /// `GET /api/health`
    Health,
    /// The version.
    Version,
    /// Enterprise build and licence.
    Licence,
    /// JWT single sign-on.
    SingleSignOn,
    /// The switch for the SDK.
    Sdk,
    /// Tenants, against the instance's `tenancy`.
    Tenancy,
    /// Whether Metabase holds the secret that signs.
    Secret,
    /// How far a rotation is.
    Rotation,
    /// Clock skew.
    Clock,
    /// A person really signs in.
    Canary,
}

impl Check {
    /// The name in the output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Audit => "audit",
            Self::Accounts => "accounts",
            Self::Hardening => "hardening",
            Self::Url => "url",
            Self::Reachable => "reachable",
            Self::Health => "health",
            Self::Version => "version",
            Self::Licence => "licence",
            Self::SingleSignOn => "jwt-sso",
            Self::Sdk => "sdk",
            Self::Tenancy => "tenancy",
            Self::Secret => "secret",
            Self::Rotation => "rotation",
            Self::Clock => "clock",
            Self::Canary => "canary",
        }
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// People can sign in, but somebody should look at it; or it could not be told.
    Warn,
    /// People cannot sign in, or not all of them.
    Fail,
}

impl Verdict {
    /// The word in the output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// The outcome of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Of what.
    pub check: Check,
    /// How bad it is.
    pub verdict: Verdict,
    /// What is the case; one sentence without a full stop. Holds neither a secret nor a token.
    pub what: String,
    /// What to do; empty when all is well.
    pub way_out: String,
}

impl Finding {
    /// All is well.
    pub fn ok(check: Check, what: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, what: what.into(), way_out: String::new() }
    }

    /// Somebody should look at it.
    pub fn warn(check: Check, what: impl Into<String>, way_out: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warn, what: what.into(), way_out: way_out.into() }
    }

    /// People cannot sign in.
    pub fn fail(check: Check, what: impl Into<String>, way_out: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Fail, what: what.into(), way_out: way_out.into() }
    }
}

/// An instance, and the keys that its Metabase may hold by mistake.
#[derive(Debug)]
pub struct Case<'a> {
    /// The instance.
    pub one: &'a InstanceWithKey,
    /// What a wrong paste would make of its secret.
    pub look_alikes: Vec<(LookAlike, SigningKey)>,
    /// Where the instance is asked.
    pub address: &'a str,
    /// The other instances of the configuration.
    pub others: Vec<&'a InstanceWithKey>,
}

/// Examines one instance; waits at most `patience` for each answer.
pub async fn examine(case: &Case<'_>, clock: &dyn Clock, patience: Duration) -> Vec<Finding> {
    let Some(live) = &case.one.live else {
        let way_out = "set `url`, the base URL of the instance, or `api_url` if this service reaches it elsewhere";
        return vec![Finding::warn(Check::Url, "Metabase cannot be asked: the instance has no `url`", way_out)];
    };
    let http = Bounded { http: live.http(), patience };
    let mut findings = Vec::new();
    // Whatever is there, it is no Metabase that could be asked more.
    let Some(health) = server::health(&http, case.address, &mut findings).await else { return findings };
    let settings = server::settings(&http, &case.one.instance, &mut findings).await;
    let is_on = single_sign_on::examine(&http, &settings, &mut findings).await;
    server::tenancy(case.one.instance.tenancy, &settings, &mut findings);
    let date = secret::examine(&http, case, is_on, &mut findings).await;
    findings.push(clock::examine(date.or(health.date), clock.now()));
    findings
}

/// Waits for no answer longer than it is worth.
#[derive(Debug)]
struct Bounded<'a> {
    http: &'a dyn Http,
    patience: Duration,
}

impl Http for Bounded<'_> {
    fn send<'a>(&'a self, request: &'a Request<'a>) -> BoxFuture<'a, Result<Answer, Unreachable>> {
        let late = Unreachable { what: "does not answer in time" };
        Box::pin(async move { timeout(self.patience, self.http.send(request)).await.unwrap_or(Err(late)) })
    }
}

#[cfg(test)]
mod tests;
