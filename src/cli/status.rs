//! `status`

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
    process::ExitCode,
};

use serde_json::json;

use super::{Status, client, fail, issue::text, prefix_lines, print};
use crate::client::{AuthStatus, CheckRequest, Judgement};

/// The service answered, and the status is not SUCCESS.
const NOT_SUCCESS: u8 = 3;

pub(super) async fn run(status: Status) -> ExitCode {
    let jwt = match read(&status.jwt_file) {
        Ok(jwt) => jwt,
        Err(error) => return fail(1, format_args!("--jwt-file {}: {error}", status.jwt_file.display())),
    };
    let connection = match client::connect(&status.server).await {
        Ok(connection) => connection,
        Err(error) => return fail(1, error),
    };
    let request = CheckRequest::jwt(jwt.trim()).instance(status.instance).live(status.live);
    let judged = match connection.answer(connection.client.check(request)).await {
        Ok(judged) => judged,
        Err(error) => return fail(1, error),
    };
    let printed = if status.json { format!("{:#}\n", as_json(&judged)) } else { as_text(&judged) };
    match judged.status {
        AuthStatus::Success => print(printed),
        AuthStatus::Unspecified | AuthStatus::Uninitialized | AuthStatus::Loading | AuthStatus::Error => {
            let _ = print(printed);
            ExitCode::from(NOT_SUCCESS)
        }
    }
}

fn read(file: &Path) -> io::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(file)
    }
}

fn as_json(judged: &Judgement) -> serde_json::Value {
    json!({
        "status": judged.status.as_str_name(),
        "reason": judged.reason.as_str_name(),
        "message": judged.message,
        "user": judged.person.as_ref().map(|user| json!({
            "email": user.email, "firstName": user.first_name, "lastName": user.last_name,
        })),
        "groups": judged.groups,
        "attributes": judged.attributes,
        "tenant": judged.tenant.as_ref().map(|tenant| json!({
            "slug": tenant.slug, "attributes": tenant.attributes,
        })),
        "issueTime": judged.issue_time.map(text),
        "expireTime": judged.expire_time.map(text),
        "exchangeDeadline": judged.exchange_deadline.map(text),
        "tokenFingerprint": judged.fingerprint,
        "warnings": judged.warnings,
    })
}

fn as_text(judged: &Judgement) -> String {
    let status = judged.status_word().to_uppercase();
    let warnings = prefix_lines("warning: ", &judged.warnings);
    format!("{status} ({})\n{}\n{warnings}", judged.reason_word(), judged.message)
}
