//! What the caller should know beside a token, as metadata of the answer.

use tonic::metadata::{MetadataMap, MetadataValue};

use crate::application::accounts::Warnings;

/// Metadata of answers, once for each warning: a code, a colon, and what to do. ASCII, because metadata is.
const WARNING: &str = "mts-warning";

pub(super) fn add(warnings: Warnings, metadata: &mut MetadataMap) {
    let findings = warnings.findings;
    let texts = [
        (findings.other_person, OTHER_PERSON),
        (findings.too_many_tokens, TOO_MANY_TOKENS),
        (warnings.no_user_id, NO_USER_ID),
        (warnings.not_checked, NOT_CHECKED),
    ];
    for (_, text) in texts.into_iter().filter(|(holds, _)| *holds) {
        metadata.append(WARNING, MetadataValue::from_static(text));
    }
}

const OTHER_PERSON: &str = "SHARED_ACCOUNT: another person (another user.id) uses the Metabase account of this e-mail address; give \
                            every person an address of their own (with one_account_per_user = \"enforce\" this is refused)";
const TOO_MANY_TOKENS: &str = "SHARED_ACCOUNT: the Metabase account of this e-mail address has had more tokens within an hour than one \
                               person needs (accounts.tokens_per_hour); give every person an account of their own";
const NO_USER_ID: &str = "NO_USER_ID: send user.id, your own stable identifier of the person; instances of a configuration file \
                          require it (one_account_per_user)";
const NOT_CHECKED: &str =
    "ACCOUNT_NOT_CHECKED: whether another person uses the account could not be found out (accounts.redis)";
