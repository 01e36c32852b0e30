//! How Metabase's clock goes, against ours.

use super::{Check, Finding};
use crate::{
    application::live,
    domain::{time::UnixTime, token::MAX_AGE_SECONDS},
};

/// Seconds that a token needs from here to Metabase, on foot of a browser, and by which its `iat` is backdated.
const ON_ITS_WAY: i64 = 15;

/// `theirs` is the `Date` of an answer, in seconds since 1970.
pub(super) fn examine(theirs: Option<i64>, ours: UnixTime) -> Finding {
    let Some(theirs) = theirs else {
        let what = "Metabase's answers have no `Date` that can be read, so its clock is not known";
        return Finding::warn(Check::Clock, what, "let the proxy before Metabase pass `Date` on, or compare by hand");
    };
    let skew = theirs.saturating_sub(ours.seconds());
    let way_out = "let both hosts follow the same time servers (NTP)";
    match live::warn_of_skew(skew) {
        None => Finding::ok(Check::Clock, format!("Metabase's clock is {skew:+} s from the one here")),
        Some(_) if skew > MAX_AGE_SECONDS - ON_ITS_WAY => {
            let what = format!("Metabase's clock is {skew} s ahead of the one here: it takes every token for too old");
            Finding::fail(Check::Clock, what, way_out)
        }
        Some(warning) => Finding::warn(Check::Clock, warning.trim_end_matches('.'), way_out),
    }
}
