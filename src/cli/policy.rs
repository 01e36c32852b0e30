//! `policy explain`: the decision on a request, the grant and the rule behind it, without a server and without secrets.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{self, Read as _},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use serde::Deserialize;

use super::{EX_CONFIG, Explain, fail, print};
use crate::{
    adapters::load_generation,
    config::Config,
    domain::{
        caller::{Caller, CallerId, Proof},
        instance::Instance,
        policy::{Decision, Denial, Policy},
        token_request::{InvalidRequest, TokenRequest, UnverifiedRequest, UnverifiedUser, Violation},
    },
};

/// The policy denies the request.
const DENIED: u8 = 3;
/// The request would be refused before the policy is asked.
const INVALID: u8 = 4;

/// `IssueMetabaseTokenRequest` in protobuf's JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    #[serde(default)]
    instance: String,
    user: Option<User>,
    groups: Option<GroupList>,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    tenant: Option<Tenant>,
    lifetime: Option<String>,
    #[serde(alias = "returnTo")]
    return_to: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct User {
    id: String,
    email: String,
    #[serde(alias = "firstName")]
    first_name: String,
    #[serde(alias = "lastName")]
    last_name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupList {
    #[serde(default)]
    names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tenant {
    #[serde(default)]
    slug: String,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
}

pub(super) fn explain(explain: &Explain) -> ExitCode {
    let name = explain.config.display().to_string();
    let config = match load_generation::read(&explain.config) {
        Ok(text) => Config::parse(&text, &name),
        Err(error) => return fail(EX_CONFIG, format_args!("{name}: cannot be read: {error}")),
    };
    let config = match config {
        Ok(config) => config,
        Err(errors) => return fail(EX_CONFIG, errors),
    };
    let request: Request =
        match read(&explain.request).and_then(|text| serde_json::from_str(&text).map_err(|e| e.to_string())) {
            Ok(request) => request,
            Err(error) => return fail(INVALID, format_args!("--request: {error}")),
        };
    let caller = match caller(&config, &explain.caller) {
        Ok(caller) => caller,
        Err(error) => return fail(2, format_args!("--caller: {error}")),
    };
    let Some(instance) = instance(&config, &request.instance) else {
        return fail(INVALID, "instance: no such instance, or several and none of them the default");
    };
    let policy = config.policy();
    let decision = match unverified(request) {
        Ok(request) => decide(&policy, &caller, request, instance),
        Err(violation) => Err(vec![violation]),
    };
    match decision {
        Err(violations) => {
            let lines: Vec<String> =
                violations.iter().map(|Violation { field, rule }| format!("{field}: {rule}")).collect();
            fail(INVALID, format_args!("the request is invalid\n{}", lines.join("\n")))
        }
        Ok(Decision::Allow(permit)) => {
            let head = format!("ALLOW, with a lifetime of {}\n", permit.lifetime());
            print(head + &grounds(&config, &policy, &caller, instance, None))
        }
        Ok(Decision::Deny(denial)) => {
            let mut text = format!("DENY {}", denial.reason.code());
            if !denial.field.is_empty() {
                // Writing to a String does not fail.
                let _ = write!(text, ", because of {}", denial.field);
            }
            let _ = print(text + "\n" + &grounds(&config, &policy, &caller, instance, Some(&denial)));
            ExitCode::from(DENIED)
        }
    }
}

/// The order of the service: access, form, grant.
fn decide(
    policy: &Policy,
    caller: &Caller,
    request: UnverifiedRequest,
    instance: &Instance,
) -> Result<Decision, Vec<Violation>> {
    if let Err(denial) = policy.decide_access(caller, &instance.name) {
        return Ok(Decision::Deny(denial));
    }
    let url_not_configured = || Violation {
        field: "return_to".to_owned(),
        rule: "needs the `url` of the instance, which is not configured".to_owned(),
    };
    let request = TokenRequest::parse(request, Arc::new(instance.clone())).map_err(|invalid| match invalid {
        InvalidRequest::Violations(violations) => violations,
        InvalidRequest::UrlNotConfigured => vec![url_not_configured()],
    })?;
    Ok(policy.decide(caller, request))
}

/// Who the caller is, and the grant or the part of it that decided.
fn grounds(config: &Config, policy: &Policy, caller: &Caller, instance: &Instance, denial: Option<&Denial>) -> String {
    let Some(name) = policy.name(caller) else {
        return format!("caller: none of the [[callers]] lists {}\n", caller.id);
    };
    let mut text = format!("caller: {name}\n");
    let found = config.callers.iter().enumerate().find(|(_, one)| one.name == *name);
    let grant = found.and_then(|(index, one)| {
        let grant = one.grants.iter().position(|(granted, _)| *granted == instance.name)?;
        Some((index, grant))
    });
    let Some((caller_at, grant_at)) = grant else {
        let _ = writeln!(text, "grant: none on the instance {:?}", instance.name.as_str());
        return text;
    };
    let _ = writeln!(text, "grant: callers[{caller_at}].grants[{grant_at}]");
    let key = denial.and_then(|denial| denial.reason.grant_key());
    match (denial, key) {
        (Some(_), None) => text += "rule: [deny]\n",
        (_, key) => text += &config.effective_grant(caller_at, grant_at, key),
    }
    text
}

/// The text itself, the content of `@FILE`, or standard input for `-`.
fn read(request: &str) -> Result<String, String> {
    match (request, request.strip_prefix('@')) {
        ("-", _) => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).map_err(|error| error.to_string())?;
            Ok(text)
        }
        (_, Some(file)) => fs::read_to_string(Path::new(file)).map_err(|error| format!("{file}: {error}")),
        (text, None) => Ok(text.to_owned()),
    }
}

/// A name of the `[[callers]]`, or else an identity.
fn caller(config: &Config, id: &str) -> Result<Caller, String> {
    if let Some(named) = config.callers.iter().find(|one| one.name.as_str() == id) {
        return Ok(Caller { id: CallerId::Named(named.name.clone()), proof: Proof::Local });
    }
    let identity = id.parse().map_err(|error| format!("not one of the [[callers]], and {error}"))?;
    Ok(Caller { id: CallerId::Proven(identity), proof: Proof::Mtls })
}

fn instance<'a>(config: &'a Config, name: &str) -> Option<&'a Instance> {
    let mut instances = config.instances.iter().map(|one| &one.instance);
    match (name, config.instances.as_slice()) {
        ("", [only]) => Some(&only.instance),
        ("", _) => instances.find(|one| one.is_default),
        (name, _) => instances.find(|one| one.name.as_str() == name),
    }
}

fn unverified(request: Request) -> Result<UnverifiedRequest, Violation> {
    let lifetime = request.lifetime.map(|text| parse_duration(&text)).transpose()?;
    Ok(UnverifiedRequest {
        user: request.user.map(|user| UnverifiedUser {
            id: user.id,
            email: user.email,
            first_name: user.first_name,
            last_name: user.last_name,
        }),
        groups: request.groups.map(|groups| groups.names),
        attributes: request.attributes,
        tenant: request.tenant.map(|tenant| (tenant.slug, tenant.attributes)),
        lifetime,
        return_to: request.return_to,
    })
}

/// Protobuf's JSON form of a duration.
fn parse_duration(text: &str) -> Result<(i64, i32), Violation> {
    let duration = text.parse::<prost_types::Duration>();
    let duration = duration.map_err(|_| Violation {
        field: "lifetime".to_owned(),
        rule: "must be a duration in seconds, such as \"600s\"".to_owned(),
    })?;
    Ok((duration.seconds, duration.nanos))
}
