//! The client commands against a real server.

use std::{
    io::Write as _,
    process::{Output, Stdio},
};

use crate::harness::{Served, outcome, program, run, secret_file};

const PERSON: [&str; 6] = ["--email", "Ada@example.com", "--first-name", "Ada", "--last-name", "Lovelace"];

fn issue(served: &Served, arguments: &[&str]) -> Output {
    run(program(&["issue", "--address", served.address()]).args(PERSON).args(arguments))
}

#[test]
fn issue_and_status_go_round() {
    let served = Served::dev(&mut program(&[]));
    let more = [
        "--json",
        "--group",
        "A",
        "--group",
        "B",
        "--attribute",
        "id=4=2",
        "--tenant",
        "acme",
        "--tenant-attribute",
        "t=1",
        "--lifetime",
        "90s",
        "--return-to",
        "/x",
    ];
    let (code, out, err) = outcome(&issue(&served, &more));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let issued: serde_json::Value = serde_json::from_str(&out).unwrap();
    let jwt = issued["jwt"].as_str().unwrap();
    assert!(issued["ssoUrl"].as_str().unwrap().starts_with("http://localhost:3000/auth/sso?jwt="), "{out}");
    assert!(issued["expireTime"].as_str().unwrap().ends_with('Z'), "{out}");

    let file = secret_file(&format!("{jwt}\n"));
    let status = ["status", "--address", served.address(), "--json", "--jwt-file", file.path().to_str().unwrap()];
    let (code, out, _) = outcome(&run(&mut program(&status)));
    let judged: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, judged["status"].as_str()), (Some(0), Some("AUTH_STATUS_SUCCESS")), "{out}");
    assert_eq!(judged["user"]["email"], "ada@example.com");
    assert_eq!(judged["groups"], serde_json::json!(["A", "B"]));
    assert_eq!(judged["attributes"], serde_json::json!({"id": "4=2"}));
    assert_eq!(judged["tenant"], serde_json::json!({"slug": "acme", "attributes": {"t": "1"}}));
    assert_eq!(judged["tokenFingerprint"], issued["tokenFingerprint"]);
}

#[test]
fn status_reads_standard_input_and_tells_by_exit_code() {
    let served = Served::dev(&mut program(&[]));
    let mut child = program(&["status", "--address", served.address()]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"not a token").unwrap();
    let (code, out, err) = outcome(&child.wait_with_output().unwrap());
    assert_eq!((code, err.as_str()), (Some(3), ""));
    assert!(out.starts_with("ERROR (MALFORMED)\n") && out.contains("corrupt or manipulated"), "{out}");
}

#[test]
fn issue_prints_text_and_every_violation() {
    let served = Served::dev(&mut program(&[]));
    let (code, out, _) = outcome(&issue(&served, &["--no-groups"]));
    assert!(code == Some(0) && out.starts_with("token              eyJ") && out.contains("\nfingerprint "), "{out}");
    let (code, out, err) = outcome(&issue(&served, &["--lifetime", "1s", "--attribute", "email=x", "--instance", ""]));
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert_eq!(err.lines().count(), 3, "{err}");
    assert!(err.contains("error: lifetime: must be from 60 s to 3600 s, is 1 s"), "{err}");
    let (code, _, err) = outcome(&issue(&served, &["--instance", "nowhere"]));
    assert!(code == Some(1) && err.contains("NotFound") && err.contains("UNKNOWN_INSTANCE"), "{err}");
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let served = Served::dev(&mut program(&[]));
    let address = served.address().to_owned();
    served.signal("-TERM");
    served.wait();
    for command in [&["health"][..], &["status"]] {
        let (code, _, err) = outcome(&run(program(command).args(["--address", &address])));
        assert!(code == Some(1) && err.contains(&format!("cannot connect to {address}: ")), "{err}");
    }
}

#[test]
fn health_tells_by_exit_code() {
    let served = Served::dev(&mut program(&[]));
    let health = |service: &str| {
        let mut health = program(&["health", "--service", service]);
        outcome(&run(health.env("METABASE_TOKEN_SERVICE_ADDRESS", served.address())))
    };
    for service in ["", "liveness", "readiness", "metabase.token.v1.MetabaseTokenService"] {
        assert_eq!(health(service), (Some(0), "SERVING\n".to_owned(), String::new()), "{service}");
    }
    let (code, _, err) = health("other");
    assert!(code == Some(1) && err.contains("NotFound"), "{err}");
}

#[test]
fn keygen_makes_a_secret_that_the_service_accepts() {
    let keygen = || outcome(&run(&mut program(&["keygen"])));
    let (code, secret, _) = keygen();
    let secret = secret.strip_suffix('\n').unwrap();
    assert_eq!((code, secret.len()), (Some(0), 64));
    assert!(secret.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)));
    assert_ne!(keygen().1.trim_end(), secret);
    let served = Served::dev(program(&[]).env("METABASE_JWT_SHARED_SECRET", secret));
    assert!(served.announced.contains("signing with the secret in METABASE_JWT_SHARED_SECRET"), "{}", served.announced);
}
