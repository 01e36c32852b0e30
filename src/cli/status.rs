//! `status`

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
    process::ExitCode,
};

use serde_json::json;

use super::{Status, client, fail, issue::text, prefix_lines, print};
use crate::transport::proto::{
    AuthStatus, CheckAuthStatusRequest, CheckAuthStatusResponse, check_auth_status_request::Credential,
    metabase_token_service_client::MetabaseTokenServiceClient,
};

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
    let credential = Some(Credential::Jwt(jwt.trim().to_owned()));
    let request = CheckAuthStatusRequest { instance: status.instance, credential, live: status.live };
    let mut client = MetabaseTokenServiceClient::new(connection.channel.clone());
    let response = match connection.answer(client.check_auth_status(request)).await {
        Ok(response) => response,
        Err(error) => return fail(1, error),
    };
    let printed = if status.json { format!("{:#}\n", as_json(&response)) } else { as_text(&response) };
    match response.status() {
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

fn as_json(response: &CheckAuthStatusResponse) -> serde_json::Value {
    json!({
        "status": response.status().as_str_name(),
        "reason": response.reason().as_str_name(),
        "message": response.message,
        "user": response.user.as_ref().map(|user| json!({
            "email": user.email, "firstName": user.first_name, "lastName": user.last_name,
        })),
        "groups": response.groups.as_ref().map(|groups| &groups.names),
        "attributes": response.attributes,
        "tenant": response.tenant.as_ref().map(|tenant| json!({
            "slug": tenant.slug, "attributes": tenant.attributes,
        })),
        "issueTime": response.issue_time.map(text),
        "expireTime": response.expire_time.map(text),
        "exchangeDeadline": response.exchange_deadline.map(text),
        "tokenFingerprint": response.token_fingerprint,
        "warnings": response.warnings,
    })
}

fn as_text(response: &CheckAuthStatusResponse) -> String {
    let short = |name: &'static str, prefix| name.strip_prefix(prefix).unwrap_or(name);
    let status = short(response.status().as_str_name(), "AUTH_STATUS_");
    let reason = short(response.reason().as_str_name(), "AUTH_STATUS_REASON_");
    let warnings = prefix_lines("warning: ", &response.warnings);
    format!("{status} ({reason})\n{}\n{warnings}", response.message)
}
