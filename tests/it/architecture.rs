//! The invariants that no type can keep.

use crate::harness::sources;

/// The part of a file that is compiled into the program.
fn production(source: &str) -> &str {
    source.split("#[cfg(test)]").next().unwrap()
}

fn assert_absent(folder: &str, banned: &[&str], but_in: &[&str]) {
    for (name, source) in sources(folder) {
        if name.ends_with("/tests.rs")
            || name.ends_with("/properties.rs")
            || name.ends_with("wycheproof.rs")
            || but_in.contains(&name.as_str())
        {
            continue;
        }
        for word in banned {
            assert!(!production(&source).contains(word), "{name} mentions {word}");
        }
    }
}

#[test]
fn the_domain_does_no_io_and_knows_neither_grpc_nor_json() {
    let banned = ["tonic", "prost", "tokio", "serde_json", "std::fs", "std::env", "std::net", "std::io", "::now()"];
    assert_absent("src/domain", &banned, &[]);
}

#[test]
fn dependencies_go_one_way() {
    assert_absent("src/domain", &["crate::application", "crate::config", "crate::adapters", "crate::transport"], &[]);
    assert_absent("src/application", &["crate::config", "crate::adapters", "crate::transport", "crate::app::"], &[]);
    assert_absent("src/config", &["crate::application", "crate::adapters", "crate::transport", "crate::app::"], &[]);
    assert_absent("src/adapters", &["crate::transport", "crate::app::", "crate::cli"], &[]);
    assert_absent("src/transport", &["crate::adapters", "crate::app::", "crate::cli"], &[]);
    let hardening = ["crate::adapters", "crate::app", "crate::cli", "crate::domain", "crate::transport"];
    assert_absent("src/hardening", &hardening, &[]);
    for folder in ["src/adapters", "src/application", "src/config", "src/domain", "src/transport"] {
        assert_absent(folder, &["crate::hardening"], &[]);
    }
    // A program that only asks the service compiles nothing else of it.
    for (name, source) in sources("src").iter().filter(|(name, _)| name.starts_with("src/client")) {
        for known in production(source).split("crate::").skip(1) {
            assert!(known.starts_with("proto::"), "{name} mentions crate::{}", known.lines().next().unwrap());
        }
    }
    for folder in ["src/adapters", "src/application", "src/config", "src/domain", "src/hardening", "src/transport"] {
        assert_absent(folder, &["crate::client"], &[]);
    }
}

#[test]
fn a_status_is_built_in_one_place() {
    assert_absent(
        "src",
        &[" Status::new", "(Status::new", " Status::with", "(Status::with", "Status::internal", "Status::invalid"],
        &["src/transport/status.rs"],
    );
}

#[test]
fn generated_types_stop_at_the_edges() {
    let edges = [
        "src/client.rs",
        "src/client/answer.rs",
        "src/client/request.rs",
        "src/transport.rs",
        "src/transport/convert.rs",
        "src/transport/service.rs",
    ];
    assert_absent("src", &["proto::"], &edges);
}

#[test]
fn secrets_are_read_and_permits_are_made_in_one_place() {
    let callers = |word: &str| -> Vec<String> {
        let files = sources("src").into_iter().filter(|(_, source)| production(source).contains(word));
        files.map(|(name, _)| name).collect()
    };
    assert_eq!(callers("secret.expose()"), ["src/application/signing_key.rs"]);
    assert_eq!(callers("password.expose()"), ["src/adapters/account_store/redis_store/connect.rs"]);
    assert_eq!(callers("Permit {"), ["src/domain/policy.rs"]);
    assert_eq!(callers("metabase_token_service\""), ["src/telemetry.rs"]);
}

#[test]
fn files_stay_small_and_say_what_they_are_for() {
    for (name, source) in sources("src") {
        assert!(source.starts_with("//! ") || name.ends_with("/tests.rs"), "{name} does not say what it is for");
        let lines = production(&source).lines().count();
        assert!(lines <= 340, "{name} has {lines} lines");
    }
}
