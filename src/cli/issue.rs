//! `issue`

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use prost_types::Timestamp;
use serde_json::json;

use super::{Issue, client, fail, print, print_aside};
use crate::transport::proto::{
    GroupList, IssueMetabaseTokenRequest, IssueMetabaseTokenResponse, Tenant, User,
    metabase_token_service_client::MetabaseTokenServiceClient,
};

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
    let mut client = MetabaseTokenServiceClient::new(connection.channel.clone());
    match connection.answer(client.issue_metabase_token(request)).await {
        Ok(response) if is_json => print(format_args!("{:#}\n", as_json(&response))),
        Ok(response) => {
            // The token alone on standard output, so that it can go into a file or a pipe.
            let _ = print_aside(about(&response));
            print(format_args!("{}\n", response.jwt))
        }
        Err(error) => fail(1, error),
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

fn request(issue: Issue) -> Result<IssueMetabaseTokenRequest, String> {
    let names = issue.groups;
    let tenant_attributes = distinct("--tenant-attribute", issue.tenant_attributes)?;
    Ok(IssueMetabaseTokenRequest {
        instance: issue.instance,
        user: Some(User {
            id: issue.user_id,
            email: issue.email,
            first_name: issue.first_name,
            last_name: issue.last_name,
        }),
        groups: (issue.no_groups || !names.is_empty()).then_some(GroupList { names }),
        attributes: distinct("--attribute", issue.attributes)?,
        tenant: issue.tenant.map(|slug| Tenant { slug, attributes: tenant_attributes }),
        lifetime: issue.lifetime.map(lifetime).transpose()?,
        return_to: issue.return_to,
    })
}

fn lifetime(lifetime: Duration) -> Result<prost_types::Duration, String> {
    lifetime.try_into().map_err(|_| "--lifetime is out of range".to_owned())
}

fn as_json(response: &IssueMetabaseTokenResponse) -> serde_json::Value {
    json!({
        "jwt": response.jwt,
        "issueTime": response.issue_time.map(text),
        "expireTime": response.expire_time.map(text),
        "exchangeDeadline": response.exchange_deadline.map(text),
        "tokenFingerprint": response.token_fingerprint,
        "ssoUrl": response.sso_url,
    })
}

/// Everything but the token.
fn about(response: &IssueMetabaseTokenResponse) -> String {
    let time = |time: Option<Timestamp>| time.map(text).unwrap_or_default();
    let sso_url = match response.sso_url.as_str() {
        "" => String::new(),
        url => format!("sso url            {url}\n"),
    };
    format!(
        "issued             {}\nexpires            {}\nexchange at latest {}\nfingerprint        {}\n{sso_url}",
        time(response.issue_time),
        time(response.expire_time),
        time(response.exchange_deadline),
        response.token_fingerprint,
    )
}

/// RFC 3339, as protobuf's JSON has it.
pub(super) fn text(time: Timestamp) -> String {
    time.to_string()
}
