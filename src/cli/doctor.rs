//! `doctor`

use std::{fmt::Write as _, path::Path, process::ExitCode, sync::Arc, thread, time::Duration};

use futures_util::future::join_all;
use serde_json::json;
use tokio_util::task::TaskTracker;

use super::{Doctor, EX_CONFIG, print};
use crate::{
    adapters::{account_store, audit_log, clock::SystemClock, environment, secret_sources},
    app::StartError,
    application::{
        audit::Audit,
        diagnose::{self, Canary, Case, Check, Finding, Verdict},
        generation::{Generation, InstanceWithKey},
        signing_key::SigningKey,
        watch_metabase::settle_rotations,
    },
    config::{AuditConfig, Config, InstanceConfig},
    hardening::{self, Measure, Outcome, Plan},
};

/// At least one check failed.
const FAILED: u8 = 3;
/// For ending the canary's sessions.
const PATIENCE_AT_THE_END: Duration = Duration::from_secs(30);

/// Findings on one subject: the service itself, or an instance.
struct Section {
    instance: Option<String>,
    address: String,
    findings: Vec<Finding>,
}

pub(super) async fn run(doctor: Doctor) -> ExitCode {
    let name = doctor.config.display().to_string();
    // The audit log is a check of its own.
    let is_of_the_configuration = |error: &StartError| !matches!(error, StartError::Audit(_));
    let (config, loaded) = match super::config::load(&doctor.config, is_of_the_configuration) {
        Ok(loaded) => loaded,
        Err(unusable_config) => return unusable(&doctor, &name, &unusable_config.errors),
    };
    if let Some(unknown) = doctor.instance.iter().find(|name| !config.instances.iter().any(|one| one.name() == **name))
    {
        return super::fail(2, format_args!("--instance {unknown:?}: there is no such instance in {name}"));
    }
    let mut own = vec![Finding::ok(
        Check::Configuration,
        format!("{}, {}", counted(config.instances.len(), "instance"), counted(config.callers.len(), "caller")),
    )];
    let mend = "see docs/configuration.md";
    own.extend(loaded.warnings.iter().map(|warning| Finding::warn(Check::Configuration, warning.as_str(), mend)));
    own.extend(config.audit.as_ref().map(audit));
    own.extend(accounts(&config).await);
    own.extend(harden(&config, &doctor.config));
    let mut sections = vec![Section { instance: None, address: name, findings: own }];
    let chosen = config
        .instances
        .iter()
        .filter(|one| doctor.instance.is_empty() || doctor.instance.contains(&one.name().to_owned()));
    sections.extend(join_all(chosen.map(|one| examine(one, &config, &loaded.generation, &doctor))).await);
    report(&doctor, &sections, None)
}

/// Whether the audit log could be opened: without it the service does not start.
fn audit(audit: &AuditConfig) -> Finding {
    match audit_log::check(&audit.sink) {
        Ok(()) => Finding::ok(Check::Audit, "The audit log can be written"),
        Err(error) => Finding::fail(
            Check::Audit,
            error.to_string(),
            "mend that, or `serve` does not start: no token leaves without its record",
        ),
    }
}

/// Asks the account store, where it is not the process's own.
async fn accounts(config: &Config) -> Option<Finding> {
    let redis = config.accounts.redis.as_ref()?;
    let way_out = "see whether it runs, and docs/accounts.md for the rights of its user";
    Some(match account_store::probe(redis).await {
        Ok(()) => Finding::ok(Check::Accounts, "The account store answers, and takes what it is told"),
        Err(error) => Finding::fail(Check::Accounts, format!("The account store cannot be used: {error}"), way_out),
    })
}

/// Takes the measures of `serve` in a thread of its own, which they end with, to see which would hold.
fn harden(config: &Config, file: &Path) -> Vec<Finding> {
    let plan = Plan::new(config, Some(file), environment::read);
    let Ok(report) = thread::spawn(move || hardening::apply(&plan)).join() else { return Vec::new() };
    let finding = |measure: &Measure| match &measure.outcome {
        Outcome::Applied => None,
        Outcome::Degraded { reason, way_out } if config.server.require_hardening => {
            Some(Finding::fail(Check::Hardening, format!("{}: {reason}", measure.name), way_out.as_str()))
        }
        Outcome::Degraded { reason, way_out } => {
            Some(Finding::warn(Check::Hardening, format!("{}: {reason}", measure.name), way_out.as_str()))
        }
    };
    let held: Vec<_> =
        report.measures.iter().filter(|one| matches!(one.outcome, Outcome::Applied)).map(|one| one.name).collect();
    let held = (!held.is_empty()).then(|| Finding::ok(Check::Hardening, held.join(", ")));
    held.into_iter().chain(report.measures.iter().filter_map(finding)).collect()
}

/// What cannot be loaded cannot be examined; what is wrong with it comes as findings all the same.
fn unusable(doctor: &Doctor, name: &str, errors: &str) -> ExitCode {
    let way_out = "mend it and try again; Metabase was not asked";
    let findings = errors.lines().map(|line| Finding::fail(Check::Configuration, line, way_out)).collect();
    report(doctor, &[Section { instance: None, address: name.to_owned(), findings }], Some(EX_CONFIG))
}

async fn examine(one: &InstanceConfig, config: &Config, generation: &Generation, doctor: &Doctor) -> Section {
    let (clock, name) = (SystemClock, &one.instance.name);
    let address = one.api_url().map(ToString::to_string).unwrap_or_default();
    let mut section = Section { instance: Some(name.to_string()), address, findings: Vec::new() };
    let Some(found) = generation.instance_named(name) else { return section };
    let is_other = |other: &&InstanceWithKey| other.instance.name != *name;
    let others = generation.instances().filter(is_other).collect();
    let case = Case { one: found, look_alikes: look_alikes(one), address: &section.address, others };
    section.findings = diagnose::examine(&case, &clock, doctor.timeout).await;
    let is_well = section.findings.iter().all(|finding| finding.verdict != Verdict::Fail);
    if let Some(email) = &doctor.canary {
        section.findings.push(if is_well {
            // During a rotation the canary is signed with the secret that Metabase holds.
            settle_rotations(generation, &clock, &Audit::off(Arc::new(clock))).await;
            let tasks = TaskTracker::new();
            let canary =
                Canary { email: email.clone(), tenant: doctor.canary_tenant.clone(), denied: config.denied.clone() };
            let finding = diagnose::sign_in(found, &canary, &clock, doctor.timeout, &tasks).await;
            tasks.close();
            // A session that was made late is ended all the same.
            let _ = tokio::time::timeout(PATIENCE_AT_THE_END, tasks.wait()).await;
            finding
        } else {
            Finding::warn(
                Check::Canary,
                "The canary was not signed in, for it cannot be",
                "mend what failed above, and try again",
            )
        });
    }
    section
}

/// The secret is read once more, for a signing key gives no secret back.
fn look_alikes(one: &InstanceConfig) -> Vec<(crate::domain::secret::LookAlike, SigningKey)> {
    let loaded = secret_sources::load(&one.shared_secret);
    let alike = loaded.map(|loaded| loaded.secret.look_alikes()).unwrap_or_default();
    alike.iter().map(|(how, secret)| (*how, SigningKey::new(secret))).collect()
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn report(doctor: &Doctor, sections: &[Section], code: Option<u8>) -> ExitCode {
    let all = || sections.iter().flat_map(|section| &section.findings);
    let worst = all().map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok);
    let printed = if doctor.json {
        let checks: Vec<_> = sections
            .iter()
            .flat_map(|section| section.findings.iter().map(|finding| as_json(section, finding)))
            .collect();
        format!("{:#}\n", json!({ "verdict": worst.as_str(), "checks": checks }))
    } else {
        sections.iter().map(as_text).collect()
    };
    let printed = print(printed);
    match (code, worst) {
        (Some(code), _) => ExitCode::from(code),
        (None, Verdict::Fail) => ExitCode::from(FAILED),
        (None, Verdict::Ok | Verdict::Warn) => printed,
    }
}

fn as_json(section: &Section, finding: &Finding) -> serde_json::Value {
    json!({
        "instance": section.instance,
        "check": finding.check.as_str(),
        "verdict": finding.verdict.as_str(),
        "message": finding.what,
        "wayOut": finding.way_out,
    })
}

fn as_text(section: &Section) -> String {
    let mut text = match &section.instance {
        Some(instance) => format!("instance {instance} {}\n", section.address),
        None => format!("service {}\n", section.address),
    };
    for Finding { check, verdict, what, way_out } in &section.findings {
        // Writing to a String does not fail.
        let _ = writeln!(text, "  {:4}  {:13}  {what}", verdict.as_str(), check.as_str());
        if !way_out.is_empty() {
            let _ = writeln!(text, "                       -> {way_out}");
        }
    }
    text
}
