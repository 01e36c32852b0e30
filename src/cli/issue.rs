//! `issue`

use std::{process::ExitCode, time::Duration};

use prost_types::Timestamp;
use serde_json::json;

use super::{Issue, client, fail, print};
use crate::transport::proto::{
    GroupList, IssueMetabaseTokenRequest, IssueMetabaseTokenResponse, Tenant, User,
    metabase_token_service_client::MetabaseTokenServiceClient,
};

pub(super) fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

pub(super) async fn run(issue: Issue) -> ExitCode {
    let channel = match client::connect(&issue.server).await {
        Ok(channel) => channel,
        Err(error) => return fail(1, error),
    };
    let is_json = issue.json;
    let answer = match request(issue) {
        Ok(request) => MetabaseTokenServiceClient::new(channel).issue_metabase_token(request).await,
        Err(error) => return fail(2, error),
    };
    match answer.map(tonic::Response::into_inner) {
        Ok(response) if is_json => print(format_args!("{:#}\n", as_json(&response))),
        Ok(response) => print(as_text(&response)),
        Err(status) => fail(1, client::describe(&status)),
    }
}

fn request(issue: Issue) -> Result<IssueMetabaseTokenRequest, String> {
    let names = issue.groups;
    Ok(IssueMetabaseTokenRequest {
        instance: issue.instance,
        user: Some(User {
            id: issue.user_id,
            email: issue.email,
            first_name: issue.first_name,
            last_name: issue.last_name,
        }),
        groups: (issue.no_groups || !names.is_empty()).then_some(GroupList { names }),
        attributes: issue.attributes.into_iter().collect(),
        tenant: issue.tenant.map(|slug| Tenant { slug, attributes: issue.tenant_attributes.into_iter().collect() }),
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

fn as_text(response: &IssueMetabaseTokenResponse) -> String {
    let time = |time: Option<Timestamp>| time.map(text).unwrap_or_default();
    let sso_url = match response.sso_url.as_str() {
        "" => String::new(),
        url => format!("sso url            {url}\n"),
    };
    format!(
        "token              {}\nissued             {}\nexpires            {}\nexchange at latest {}\nfingerprint        {}\n{sso_url}",
        response.jwt,
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
