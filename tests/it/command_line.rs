//! The client commands against a real server.

use std::{
    io::Write as _,
    net::TcpListener,
    process::{Output, Stdio},
};

use crate::{
    harness::{CONFIG, SECRET, Served, config_dir, outcome, program, run, secret_file},
    pki::{TestCa, client, uri},
};

const PERSON: [&str; 8] =
    ["--user-id", "1815", "--email", "Ada@example.com", "--first-name", "Ada", "--last-name", "Lovelace"];

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
    let (code, out, err) = outcome(&issue(&served, &["--no-groups"]));
    assert!(code == Some(0) && out.starts_with("eyJ") && out.lines().count() == 1, "{out}");
    assert!(err.starts_with("issued  ") && err.contains("\nfingerprint "), "{err}");
    for option in ["--attribute", "--tenant-attribute"] {
        let twice = ["--tenant", "acme", option, "region=emea", option, "region=apac"];
        let (code, out, err) = outcome(&issue(&served, &twice));
        let expected = format!("error: {option} region=… is given more than once\n");
        assert_eq!((code, out.as_str(), err), (Some(2), "", expected));
    }
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
fn the_timeout_covers_everything_and_names_the_server() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let ca = TestCa::new();
    ca.server_tls(&[]);
    for tls in [&[][..], &["--tls-ca", ca.path("ca.pem").to_str().unwrap()]] {
        let arguments = ["health", "--timeout", "200ms", "--address", &address];
        let (code, out, err) = outcome(&run(program(&arguments).args(tls)));
        let expected = format!("error: no answer from {address} within 200ms (--timeout)\n");
        assert_eq!((code, out.as_str(), err), (Some(1), "", expected));
    }
}

#[test]
fn an_address_says_how_and_where() {
    for address in
        ["localhost", "http://localhost", "ftp://localhost:1", "unix:relative", "https://localhost:1", ":1 2"]
    {
        let (code, _, err) = outcome(&run(&mut program(&["health", "--address", address])));
        assert!(code == Some(1) && err.starts_with(&format!("error: --address {address:?} ")), "{err}");
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
    assert_eq!((code, secret.len()), (Some(0), 64));
    assert!(secret.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)));
    assert_ne!(keygen().1, secret);
    let served = Served::dev(program(&[]).env("METABASE_JWT_SHARED_SECRET", &secret));
    assert!(served.announced.contains("signing with the secret in METABASE_JWT_SHARED_SECRET"), "{}", served.announced);
    // As README.md has it: a file that the shell makes.
    let dir = config_dir(CONFIG, "");
    let file = std::fs::File::create(dir.path().join("secret")).unwrap();
    assert!(program(&["keygen"]).stdout(file).status().unwrap().success());
    let (code, _, err) = outcome(&run(program(&["config", "check"]).arg(dir.path().join("mts.toml"))));
    assert_eq!((code, err.as_str()), (Some(0), ""));
}

#[test]
fn the_clients_speak_mutual_tls() {
    let ca = TestCa::new();
    let text = CONFIG
        .replace("identity = { local = \"shop\" }", "identity = { mtls = true }")
        .replace("name = \"shop\"", "name = \"shop\"\nidentities = [\"spiffe://example.org/web\"]")
        .replace("[[instances]]", &format!("{}\n[[instances]]", ca.server_tls(&[])));
    let dir = config_dir(&text, SECRET);
    let served = Served::start(program(&["serve", "--config"]).arg(dir.path().join("mts.toml")));
    assert!(
        served.announced.starts_with("gRPC on 127.0.0.1:") && served.announced.contains(" (TLS)\n"),
        "{}",
        served.announced
    );
    let web = ca.issue(&client(vec![uri("spiffe://example.org/web")]));
    let (certificate, key) = (ca.write("web.pem", &web.certificate), ca.write("web.key", &web.key));
    let ca_file = ca.path("ca.pem");
    let trust =
        ["--address", served.address(), "--tls-server-name", "localhost", "--tls-ca", ca_file.to_str().unwrap()];
    let own = ["--tls-certificate", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let (code, out, err) = outcome(&run(program(&["health"]).args(trust).args(own)));
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "SERVING\n", ""));
    let (code, out, err) = outcome(&run(program(&["issue"]).args(PERSON).args(trust).args(own)));
    assert!(code == Some(0) && out.starts_with("eyJ"), "{err}");
    let plain = format!("http://{}", served.address());
    let (code, _, err) = outcome(&run(program(&["health", "--address", &plain, "--tls-ca"]).arg(&ca_file)));
    assert!(code == Some(1) && err.contains("must be HOST:PORT or https://HOST:PORT with --tls-ca"), "{err}");
    let stranger = TestCa::new();
    stranger.server_tls(&[]);
    let other_ca = stranger.path("ca.pem");
    let trusting_another = ["--address", served.address(), "--tls-ca", other_ca.to_str().unwrap()];
    let unnamed = ["--address", served.address(), "--tls-ca", ca_file.to_str().unwrap()];
    let dev = Served::dev(&mut program(&[]));
    let to_plaintext = ["--address", dev.address(), "--tls-ca", ca_file.to_str().unwrap()];
    for (name, arguments, hint) in [
        ("no certificate", &trust[..], "if it asks for a client certificate, give --tls-certificate and --tls-key"),
        ("another CA", &trusting_another, "the server's certificate is not of the CA in --tls-ca"),
        ("another name", &unnamed, "the server's certificate has another name: say which with --tls-server-name"),
        ("TLS to plaintext", &to_plaintext, "the server does not speak TLS: leave --tls-ca out"),
        ("plaintext to TLS", &["--address", served.address()], "if it speaks TLS, give --tls-ca"),
    ] {
        let (code, _, err) = outcome(&run(program(&["health"]).args(arguments)));
        assert!(code == Some(1) && err.contains(hint), "{name}: {err}");
    }
}

#[test]
fn policy_explain_tells_decision_grant_and_rule_without_secrets() {
    let text = CONFIG
        .replace("name = \"shop\"", "name = \"shop\"\nidentities = [\"spiffe://example.org/ns/shop/*\"]")
        .replace("email_domains = [\"*\"]", "email_domains = [\"example.com\"]")
        .replace("[[instances]]", "[deny]\nemails = [\"eve@example.com\"]\n[[instances]]");
    let dir = config_dir(&text, SECRET);
    std::fs::remove_file(dir.path().join("secret")).unwrap();
    let file = dir.path().join("mts.toml");
    let person = |email: &str| {
        format!(r#"{{"user":{{"id":"7","email":"{email}","firstName":"A","last_name":"B"}},"lifetime":"90s"}}"#)
    };
    let explain = |caller: &str, request: &str| {
        outcome(&run(program(&["policy", "explain", "--caller", caller, "--request", request, "--config"]).arg(&file)))
    };
    let id = "spiffe://example.org/ns/shop/web";
    for (caller, request, code, lines) in [
        (
            id,
            person("ada@example.com"),
            0,
            &["ALLOW, with a lifetime of 90 s", "caller: shop", "grant: callers[0].grants[0]"][..],
        ),
        ("shop", person("ada@example.com"), 0, &["ALLOW, with a lifetime of 90 s"]),
        (
            id,
            person("ada@example.org"),
            3,
            &["DENY EMAIL_DOMAIN_NOT_GRANTED, because of user.email", "email_domains = [\"example.com\"]"],
        ),
        (id, person("eve@example.com"), 3, &["DENY USER_DENIED, because of user.email", "rule: [deny]"]),
        (
            "web.example",
            person("ada@example.com"),
            3,
            &["DENY UNKNOWN_CALLER", "caller: none of the [[callers]] lists web.example"],
        ),
    ] {
        let (own, out, err) = explain(caller, &request);
        assert_eq!((own, err.as_str()), (Some(code), ""), "{out}");
        for line in lines {
            assert!(out.lines().any(|own| own == *line), "{line} in\n{out}");
        }
    }
    let (code, out, err) = explain("shop", &person("ada"));
    assert_eq!((code, out.as_str()), (Some(4), ""));
    assert!(err.contains("error: user.email: must be an e-mail address"), "{err}");
    let (code, _, err) = explain("shop", "{\"usr\":{}}");
    assert!(code == Some(4) && err.contains("unknown field `usr`"), "{err}");
    let (code, _, err) = explain("no such caller", "{}");
    assert!(code == Some(2) && err.contains("not one of the [[callers]]"), "{err}");
}
