//! `issue`

use std::{collections::BTreeMap, process::ExitCode, time::SystemTime};

use prost_types::Timestamp;
use serde_json::json;

use super::{Issue, client, fail, prefix_lines, print, print_aside};
use crate::client::{IssuedToken, Person, SsoUrl, Tenant, TokenRequest};

pub(super) fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

pub(super) async fn run(issue: Issue) -> ExitCode {
    let connection = match client::connect(&issue.server).await {
        Ok(connection) => connection,
        Err(error) => return fail(1, error),
    };
    let is_json = issue.json;
    let request = match request(issue) {
        Ok(request) => request,
        Err(error) => return fail(2, error),
    };
    let issued = match connection.answer(connection.client.issue(request)).await {
        Ok(issued) => issued,
        Err(error) => return fail(1, error),
    };
    let _ = print_aside(prefix_lines("warning            ", &issued.warnings));
    if is_json {
        print(format_args!("{:#}\n", as_json(&issued)))
    } else {
        // The token alone on standard output, so that it can go into a file or a pipe.
        let _ = print_aside(about(&issued));
        print(format_args!("{}\n", issued.token.expose()))
    }
}

/// The pairs as a map, in which no key was given twice.
fn distinct(option: &str, pairs: Vec<(String, String)>) -> Result<BTreeMap<String, String>, String> {
    let mut map = BTreeMap::new();
    for (key, value) in pairs {
        if map.contains_key(&key) {
            return Err(format!("{option} {key}=… is given more than once"));
        }
        map.insert(key, value);
    }
    Ok(map)
}

fn request(issue: Issue) -> Result<TokenRequest, String> {
    let person =
        Person { id: issue.user_id, email: issue.email, first_name: issue.first_name, last_name: issue.last_name };
    let mut request = TokenRequest::new(person).instance(issue.instance);
    request = request.attributes(distinct("--attribute", issue.attributes)?);
    let attributes = distinct("--tenant-attribute", issue.tenant_attributes)?;
    if issue.no_groups || !issue.groups.is_empty() {
        request = request.groups(issue.groups);
    }
    if let Some(slug) = issue.tenant {
        request = request.tenant(Tenant { slug, attributes });
    }
    if let Some(lifetime) = issue.lifetime {
        request = request.lifetime(lifetime);
    }
    if let Some(place) = issue.return_to {
        request = request.return_to(place);
    }
    Ok(request)
}

fn as_json(issued: &IssuedToken) -> serde_json::Value {
    json!({
        "jwt": issued.token.expose(),
        "issueTime": text(issued.issue_time),
        "expireTime": text(issued.expire_time),
        "exchangeDeadline": text(issued.exchange_deadline),
        "tokenFingerprint": issued.fingerprint,
        "ssoUrl": issued.sso_url.as_ref().map_or("", SsoUrl::expose),
    })
}

/// Everything but the token.
fn about(issued: &IssuedToken) -> String {
    let sso_url = issued.sso_url.as_ref().map(|url| format!("sso url            {}\n", url.expose()));
    format!(
        "issued             {}\nexpires            {}\nexchange at latest {}\nfingerprint        {}\n{}",
        text(issued.issue_time),
        text(issued.expire_time),
        text(issued.exchange_deadline),
        issued.fingerprint,
        sso_url.unwrap_or_default(),
    )
}

/// RFC 3339, as protobuf's JSON has it.
pub(super) fn text(time: SystemTime) -> String {
    Timestamp::from(time).to_string()
}
