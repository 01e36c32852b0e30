//! Whether there is a Metabase, which one, and what it may do.

use serde_json::Value;

use super::{Bounded, Check, Finding};
use crate::{
    application::metabase::{self, Answer},
    domain::{instance::Instance, tenant::Tenancy},
};

/// The settings that Metabase shows to anybody; null where it shows none.
pub(super) struct Settings(Value);

/// The first version that the SDK works with.
const FIRST_FOR_THE_SDK: u32 = 50;
/// The first version with tenants.
const FIRST_WITH_TENANTS: u32 = 58;

impl Settings {
    /// `v1.58.2` is version 58; the first number tells an Enterprise build (1) from an open-source one (0).
    pub(super) fn major_version(&self) -> Option<u32> {
        self.0["version"]["tag"].as_str()?.split('.').nth(1)?.parse().ok()
    }

    pub(super) fn is_open_source(&self) -> bool {
        self.0["version"]["tag"].as_str().is_some_and(|tag| tag.starts_with("v0."))
    }

    /// None: not told.
    pub(super) fn is_licensed(&self, feature: &str) -> Option<bool> {
        self.0["token-features"][feature].as_bool()
    }
}

/// The answer of a Metabase that is up; none = there is nothing to ask more.
pub(super) async fn health(http: &Bounded<'_>, address: &str, findings: &mut Vec<Finding>) -> Option<Answer> {
    let answer = match metabase::health(http).await {
        Ok(answer) => answer,
        Err(unreachable) => {
            let way_out = format!(
                "try `curl -v {address}` from this host, and mend the instance's `api_url`, or `url`, if that is wrong"
            );
            findings.push(Finding::fail(Check::Reachable, format!("Metabase {}", unreachable.what), way_out));
            return None;
        }
    };
    findings.push(Finding::ok(Check::Reachable, "Something answers at the URL"));
    let status = answer.member("status").unwrap_or_default();
    let fail = |what: String, way_out: &str| Some(Finding::fail(Check::Health, what, way_out));
    let finding = match answer.status {
        200 if status == "ok" => None,
        200 => fail(
            "What answers is not a Metabase, or not a healthy one: /api/health gives something else than its status"
                .to_owned(),
            "make `url` the base URL of the instance, with the path if it has one",
        ),
        301..=308 => {
            let target = answer.location.as_deref().map(|to| format!(" to {}", without_query(to))).unwrap_or_default();
            fail(
                format!(
                    "What answers sends on{target} (HTTP {}), and redirects are not followed with a token",
                    answer.status
                ),
                "make `url`, or `api_url`, the address that it sends to",
            )
        }
        503 if status == "initializing" => {
            fail(format!("Metabase is still starting{}", progress(&answer)), "wait until it is up, and try again")
        }
        503 if status.contains("app-db") => fail(
            "Metabase has no connection to its application database".to_owned(),
            "see Metabase's log; people cannot sign in by any means",
        ),
        401 | 403 | 407 => fail(
            format!("Something before Metabase wants credentials (HTTP {})", answer.status),
            "make `api_url` an address that leads to Metabase directly",
        ),
        404 => fail(
            "What answers has no /api/health (HTTP 404): it is not a Metabase, or the URL lacks its path".to_owned(),
            "make `url` the base URL of the instance, with the path if it has one",
        ),
        502 | 504 => fail(
            format!(
                "A proxy answers in Metabase's place (HTTP {}): Metabase is down, or the proxy is misdirected",
                answer.status
            ),
            "see whether Metabase runs, and where the proxy leads",
        ),
        status => fail(format!("Metabase is not healthy (HTTP {status})"), "see Metabase's log"),
    };
    let is_up = finding.is_none();
    findings.push(finding.unwrap_or_else(|| Finding::ok(Check::Health, "Metabase says that it is healthy")));
    is_up.then_some(answer)
}

/// What Metabase says of itself.
pub(super) async fn settings(http: &Bounded<'_>, instance: &Instance, findings: &mut Vec<Finding>) -> Settings {
    let answer = metabase::public_settings(http).await;
    let settings = Settings(answer.ok().and_then(|answer| answer.json()).unwrap_or_default());
    let tag = settings.0["version"]["tag"].as_str().unwrap_or_default();
    findings.push(match settings.major_version() {
        // Cut, for it is somebody else's text.
        Some(version) if version >= FIRST_FOR_THE_SDK => {
            Finding::ok(Check::Version, format!("Metabase is {}", tag.chars().take(40).collect::<String>()))
        }
        Some(version) => Finding::warn(
            Check::Version,
            format!("Metabase is of version {version}, which the SDK does not work with"),
            format!("upgrade to {FIRST_FOR_THE_SDK} or later; interactive embedding works all the same"),
        ),
        None => Finding::warn(
            Check::Version,
            "Metabase does not tell its version",
            "see whether a proxy keeps /api/session/properties back; what depends on the version was not examined",
        ),
    });
    if let Some(finding) = public_url(instance, &settings) {
        findings.push(finding);
    }
    settings
}

/// Browsers are sent to `url`, and Metabase sends them on only within its own `site-url`.
fn public_url(instance: &Instance, settings: &Settings) -> Option<Finding> {
    let own = instance.url.as_ref()?.as_url();
    if own.scheme() == "http" && !matches!(own.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")) {
        let what = "The instance's `url` is http: tokens and sessions cross the network in clear";
        return Some(Finding::warn(Check::Url, what, "serve Metabase over https, and make `url` that address"));
    }
    let theirs = url::Url::parse(settings.0["site-url"].as_str()?).ok()?;
    Some(if theirs.host_str() == own.host_str() {
        Finding::ok(Check::Url, "Metabase's Site URL has the host of `url`")
    } else {
        let what = format!(
            "Metabase's Site URL is of the host {}, and `url` of {}: it refuses a return_to that is not its own",
            theirs.host_str().unwrap_or_default(),
            own.host_str().unwrap_or_default()
        );
        let way_out = "make `url` Metabase's Site URL; put the address that this service reaches into `api_url`";
        Finding::warn(Check::Url, what, way_out)
    })
}

/// Whether what the instance's `tenancy` asks for can be.
pub(super) fn tenancy(tenancy: Tenancy, settings: &Settings, findings: &mut Vec<Finding>) {
    let licensed = settings.is_licensed("tenants");
    let too_old = settings.major_version().is_some_and(|version| version < FIRST_WITH_TENANTS);
    let configured = tenancy.as_str();
    findings.push(match (tenancy, too_old, licensed) {
        (Tenancy::Forbidden, _, _) => Finding::ok(Check::Tenancy, "Tokens name no tenant, as `tenancy` says"),
        (_, true, _) => Finding::fail(
            Check::Tenancy,
            format!("`tenancy` is {configured:?}, and this Metabase is too old for tenants: it makes an attribute of the tenant"),
            format!("upgrade Metabase to {FIRST_WITH_TENANTS} or later, or make `tenancy` \"forbidden\""),
        ),
        (_, _, Some(false)) => Finding::fail(
            Check::Tenancy,
            format!("`tenancy` is {configured:?}, and this Metabase has no licence for tenants: it refuses tokens that name one"),
            "activate a licence with tenants, or make `tenancy` \"forbidden\"",
        ),
        (_, _, Some(true)) => Finding::ok(
            Check::Tenancy,
            "Metabase has a licence for tenants; whether they are switched on, only its administrators see",
        ),
        (_, _, None) => Finding::warn(
            Check::Tenancy,
            format!("`tenancy` is {configured:?}, and Metabase does not tell whether it has tenants"),
            "see Metabase's settings under People",
        ),
    });
}

fn progress(answer: &Answer) -> String {
    let done = answer.json().and_then(|json| json["progress"].as_f64());
    done.map(|done| format!(" ({:.0} %)", done * 100.0)).unwrap_or_default()
}

fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}
