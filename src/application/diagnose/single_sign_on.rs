//! Whether Metabase takes tokens at all: licence, JWT single sign-on, and the switch for the SDK.

use super::{Bounded, Check, Finding, server::Settings};
use crate::application::metabase::{self, Answer, Refused};

const BUY: &str = "activate a Pro or Enterprise licence with JWT single sign-on in Metabase (Admin, Settings, License)";
const SWITCH_ON: &str = "in Metabase, under Admin, Settings, Authentication, JWT: set the identity provider's URI and the key, and enable it";
const SDK_ON: &str = "switch it on (Admin, Embedding), unless only interactive embedding is used";
const SDK_OFF: &str = "Metabase has embedding by the SDK switched off";

/// Whether to ask about secrets: a Metabase that takes no tokens judges none.
pub(super) async fn examine(http: &Bounded<'_>, settings: &Settings, findings: &mut Vec<Finding>) -> bool {
    if settings.is_open_source() {
        let what = "Metabase is the open-source build, which has no JWT single sign-on";
        findings.push(Finding::fail(
            Check::Licence,
            what,
            "run the Enterprise build (metabase/metabase-enterprise), and license it",
        ));
        return false;
    }
    let answer = match metabase::discover(http).await {
        Ok(answer) => answer,
        Err(unreachable) => {
            let what = format!("Metabase {}, asked how one signs in", unreachable.what);
            findings.push(Finding::fail(
                Check::SingleSignOn,
                what,
                "see Metabase's log, and that of a proxy before it",
            ));
            return false;
        }
    };
    let licensed = || Finding::ok(Check::Licence, "Metabase has a licence for JWT single sign-on");
    let on = || Finding::ok(Check::SingleSignOn, "JWT single sign-on is on");
    let method = answer.member("method");
    let (found, is_on) = match (answer.status, method.as_deref(), answer.refused()) {
        (200, Some("jwt"), _) => (vec![licensed(), on(), Finding::ok(Check::Sdk, "Embedding by the SDK is on")], true),
        (200, Some("saml"), _) => {
            let what = "Metabase signs people in by SAML, and JWT single sign-on is off";
            (vec![Finding::fail(Check::SingleSignOn, what, SWITCH_ON)], false)
        }
        // Version 54 and earlier do not tell more than this without an account; the secret's check will.
        (302 | 303, _, _) => {
            let what = "Single sign-on is on; this version does not tell whether embedding by the SDK is";
            (vec![Finding::ok(Check::SingleSignOn, what)], true)
        }
        (_, _, Refused::SdkDisabled) => (vec![licensed(), on(), Finding::warn(Check::Sdk, SDK_OFF, SDK_ON)], true),
        // Metabase hides what is missing; the licence it shows to anybody, so it is the switch.
        (402, None, Refused::LicenseRequired) if settings.is_licensed("sso_jwt") == Some(true) && hides(&answer) => {
            (vec![licensed(), on(), Finding::warn(Check::Sdk, SDK_OFF, SDK_ON)], true)
        }
        (_, _, Refused::LicenseRequired) => (vec![unlicensed()], false),
        (_, _, Refused::SsoNotEnabled) if settings.is_licensed("sso_jwt") == Some(false) => (vec![unlicensed()], false),
        (_, _, Refused::SsoNotEnabled) => {
            let what = "JWT single sign-on is off, or has no identity provider's URI or no key";
            (vec![licensed(), Finding::fail(Check::SingleSignOn, what, SWITCH_ON)], false)
        }
        (_, _, other) => {
            let what = format!("Metabase {other}, asked how one signs in");
            (vec![Finding::fail(Check::SingleSignOn, what, "see Metabase's log, and that of a proxy before it")], false)
        }
    };
    findings.extend(found);
    is_on
}

fn hides(answer: &Answer) -> bool {
    answer.body.contains("Something went wrong")
}

fn unlicensed() -> Finding {
    Finding::fail(Check::Licence, "Metabase has no licence for JWT single sign-on", BUY)
}
