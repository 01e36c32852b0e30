//! Whether Metabase holds the secret that signs, and if not, what it holds instead.

use futures_util::future::join_all;

use super::{Bounded, Case, Check, Finding};
use crate::application::{
    metabase::{self, Refused},
    signing_key::SigningKey,
};

/// Every question is an expired token that names nobody. Returns Metabase's clock, in seconds since 1970.
pub(super) async fn examine(
    http: &Bounded<'_>,
    case: &Case<'_>,
    is_on: bool,
    findings: &mut Vec<Finding>,
) -> Option<i64> {
    if !is_on {
        let what = "Metabase judges no token at present, so it is not known whether it holds the secret";
        findings.push(Finding::warn(Check::Secret, what, "mend what failed above, and try again"));
        return None;
    }
    let keys = &case.one.keys;
    let (current, date) = ask(http, keys.current()).await;
    let next = match keys.next() {
        Some(next) => Some(ask(http, next).await.0),
        None => None,
    };
    match (current, next) {
        (Refused::Expired, None) => findings.push(Finding::ok(Check::Secret, "Metabase holds `shared_secret`")),
        (Refused::Expired, Some(_)) => {
            findings.push(Finding::ok(Check::Secret, "Metabase holds `shared_secret`"));
            findings.push(Finding::ok(
                Check::Rotation,
                "Prepared: tokens will be signed with `next_shared_secret` as soon as Metabase holds it",
            ));
        }
        (_, Some(Refused::Expired)) => {
            findings.push(Finding::ok(Check::Secret, "Metabase holds `next_shared_secret`, which signs"));
            findings.push(Finding::warn(
                Check::Rotation,
                "Metabase has been changed over, and the old secret is still configured",
                "make the new secret `shared_secret`, and remove `next_shared_secret`",
            ));
        }
        (Refused::Corrupt, _) => findings.push(disagreement(http, case).await),
        (other, _) => {
            let what = format!("It is not known whether Metabase holds the secret: it {other}");
            let fatal = matches!(other, Refused::LicenseRequired | Refused::SsoNotEnabled);
            let way_out = "see Metabase's log, and that of a proxy before it";
            findings.push(if fatal {
                Finding::fail(Check::Secret, what, "switch JWT single sign-on on in Metabase")
            } else {
                Finding::fail(Check::Secret, what, way_out)
            });
        }
    }
    date
}

/// Metabase holds none of our secrets. What does it hold?
async fn disagreement(http: &Bounded<'_>, case: &Case<'_>) -> Finding {
    let alike = join_all(case.look_alikes.iter().map(|(how, key)| async move { (how, ask(http, key).await.0) })).await;
    if let Some((how, _)) = alike.into_iter().find(|(_, answer)| *answer == Refused::Expired) {
        let what = format!("Metabase holds {how}");
        let way_out = "set the key in Metabase again, exactly as it is in this service's secret, or mend the copy here";
        return Finding::fail(Check::Secret, what, way_out);
    }
    let others = join_all(
        case.others.iter().map(|other| async move { (&other.instance.name, ask(http, other.keys.current()).await.0) }),
    );
    if let Some((name, _)) = others.await.into_iter().find(|(_, answer)| *answer == Refused::Expired) {
        let what = format!("Metabase holds the secret of the instance {:?}", name.as_str());
        return Finding::fail(Check::Secret, what, "exchange the URLs or the secrets of the two instances");
    }
    let probe = case.one.keys.current().probe();
    if metabase::holds_as_embedding_secret(http, probe.expose()).await.unwrap_or(false) {
        let what =
            "`shared_secret` is Metabase's embedding secret key, which is for guest embedding and signs nobody in";
        let way_out = "take the key from Admin, Settings, Authentication, JWT, and not from Embedding";
        return Finding::fail(Check::Secret, what, way_out);
    }
    let what = "Metabase holds another secret: it refuses every token of this service";
    let way_out = "set the same key in Metabase (Admin, Settings, Authentication, JWT; where MB_JWT_SHARED_SECRET is set in its \
                   environment, that outweighs the setting) and here; `metabase-token-service keygen` makes one";
    Finding::fail(Check::Secret, what, way_out)
}

async fn ask(http: &Bounded<'_>, key: &SigningKey) -> (Refused, Option<i64>) {
    metabase::probe(http, key.probe().expose()).await
}
