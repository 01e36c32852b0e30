//! What somebody reads who has made a mistake: it names the thing, the rule and the way out.

use std::{fs, io::Write as _, process::Stdio};

use crate::{
    harness::{CONFIG, SECRET, Served, config_dir, outcome, program, run},
    pki::{Leaf, TestCa, client, dns, uri},
};

const PERSON: [&str; 6] = ["--email", "ada@example.com", "--first-name", "Ada", "--last-name", "Lovelace"];

#[test]
fn a_tls_file_that_cannot_be_used_is_blamed_by_its_option() {
    let ca = TestCa::new();
    ca.server_tls(&[]);
    let [one, other] = [(); 2].map(|()| ca.issue(&client(vec![uri("spiffe://example.org/web")])));
    let (certificate, key) = (ca.write("web.pem", &one.certificate), ca.write("web.key", &one.key));
    let (other_key, text) = (ca.write("other.key", &other.key), ca.write("text", "no PEM"));
    let (authority, missing) = (ca.path("ca.pem"), ca.path("none.pem"));
    for (files, message) in [
        ([&text, &certificate, &key], "--tls-ca TEXT: holds no certificate in PEM form"),
        (
            [&key, &certificate, &key],
            "--tls-ca KEY: holds no certificate in PEM form, but a private key: are two files swapped?",
        ),
        ([&missing, &certificate, &key], "--tls-ca MISSING: cannot be read: No such file"),
        (
            [&authority, &key, &certificate],
            "--tls-certificate KEY: holds no certificate in PEM form, but a private key",
        ),
        (
            [&authority, &certificate, &certificate],
            "--tls-key CERTIFICATE: holds no private key in PEM form, but a certificate",
        ),
        ([&authority, &certificate, &other_key], "--tls-certificate and --tls-key do not go together"),
    ] {
        let options = ["--tls-ca", "--tls-certificate", "--tls-key"].into_iter().zip(files);
        let mut command = program(&["health", "--address", "127.0.0.1:1"]);
        for (option, file) in options {
            command.arg(option).arg(file);
        }
        let (code, _, err) = outcome(&run(&mut command));
        let message = message
            .replace("TEXT", text.to_str().unwrap())
            .replace("KEY", key.to_str().unwrap())
            .replace("CERTIFICATE", certificate.to_str().unwrap())
            .replace("MISSING", missing.to_str().unwrap());
        assert!(code == Some(1) && err.starts_with(&format!("error: {message}")), "{message}: {err}");
    }
}

#[test]
fn an_rpc_of_another_port_and_an_unknown_health_name_are_explained() {
    let dir = config_dir(&CONFIG.replace("[server]", "[server]\nprobe_listen = \"127.0.0.1:0\""), SECRET);
    let served = Served::start(program(&["serve", "--config"]).arg(dir.path().join("mts.toml")));
    let probe = served.announced.lines().find_map(|line| line.strip_prefix("health on ")).unwrap();
    let probe = probe.split(' ').next().unwrap();
    let (code, _, err) = outcome(&run(program(&["issue", "--address", probe]).args(PERSON)));
    assert!(code == Some(1) && err.contains("Unimplemented: what listens there does not have this RPC"), "{err}");
    let (code, _, err) = outcome(&run(&mut program(&["health", "--address", probe, "--service", "ready"])));
    assert!(
        code == Some(1) && err.contains("--service \"ready\": the server knows no such name; it knows readiness,"),
        "{err}"
    );
}

#[test]
fn a_unix_socket_that_is_not_there_is_one_where_nothing_listens() {
    let dir = config_dir(CONFIG, SECRET);
    let socket = dir.path().join("mts.sock");
    let address = format!("unix:{}", socket.display());
    let health = || outcome(&run(&mut program(&["health", "--address", &address])));
    let (code, _, err) = health();
    assert!(code == Some(1) && err.contains("nothing listens there: there is no such socket"), "{err}");
    // Left behind by a process that died.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let (code, _, err) = health();
    assert!(code == Some(1) && err.contains("nothing listens there ("), "{err}");
    fs::remove_file(&socket).unwrap();
}

/// The attack: whoever is on the way reads the token.
#[test]
fn tokens_do_not_go_to_another_machine_in_plaintext() {
    let person = PERSON;
    let mut issue = program(&["issue", "--address", "192.0.2.1:50051"]);
    let mut status = program(&["status", "--address", "http://192.0.2.1:50051", "--jwt-file", "/dev/null"]);
    for command in [issue.args(person), &mut status] {
        let (code, _, err) = outcome(&run(command));
        assert!(
            code == Some(1) && err.contains("is another machine, and tokens do not go there in plaintext"),
            "{err}"
        );
    }
}

#[test]
fn config_check_takes_its_file_as_serve_does() {
    let dir = config_dir(CONFIG, SECRET);
    let file = dir.path().join("mts.toml");
    let file = file.to_str().unwrap();
    for arguments in [&["config", "check", file][..], &["config", "check", "--config", file]] {
        assert_eq!(outcome(&run(&mut program(arguments))).0, Some(0), "{arguments:?}");
    }
    let check = ["config", "check"];
    let (code, _, err) = outcome(&run(program(&check).env("METABASE_TOKEN_SERVICE_CONFIG", file)));
    assert_eq!(code, Some(0), "{err}");
    // What is typed outweighs what is set for the machine.
    let (code, _, err) = outcome(&run(program(&check).arg(file).env("METABASE_TOKEN_SERVICE_CONFIG", "/nowhere")));
    assert_eq!(code, Some(0), "{err}");
    let (code, _, err) = outcome(&run(program(&check).args([file, "--config", file])));
    assert!(code == Some(2) && err.contains("choose one"), "{err}");
    let (code, _, err) = outcome(&run(&mut program(&check)));
    assert!(code == Some(2) && err.contains("or the path in METABASE_TOKEN_SERVICE_CONFIG"), "{err}");
    // As in a pod, where the next configuration is not a file yet.
    let text = fs::read_to_string(file).unwrap();
    for (text, expected, told) in [
        (text.clone(), Some(0), ""),
        (text.replace(dir.path().to_str().unwrap(), "/nowhere"), Some(78), "-:"),
        (format!("x = 1\n{text}"), Some(78), "-:1: x: unknown field"),
    ] {
        let mut child = program(&["config", "check", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let (code, _, err) = outcome(&child.wait_with_output().unwrap());
        assert!(code == expected && err.contains(told), "{err}");
    }
}

#[test]
fn a_file_that_is_no_audit_log_is_not_called_a_changed_one() {
    let dir = config_dir(CONFIG, SECRET);
    for content in [
        "hello\n",
        "{\"time\":\"now\",\"level\":\"INFO\",\"message\":\"a log line of some other program, of any length\"}\n",
    ] {
        let file = dir.path().join("other.log");
        fs::write(&file, content).unwrap();
        let (code, _, err) = outcome(&run(program(&["audit", "verify"]).arg(&file)));
        assert!(code == Some(3) && err.contains("line 1 is no audit record of this service"), "{err}");
    }
}

#[test]
fn a_caller_that_nobody_listed_and_a_handshake_that_failed_are_told_in_the_log() {
    let ca = TestCa::new();
    let text = CONFIG
        .replace("identity = { local = \"shop\" }", "identity = { mtls = true }")
        .replace("name = \"shop\"", "name = \"shop\"\nidentities = [\"spiffe://example.org/web\"]")
        .replace("[[instances]]", &format!("{}\n[[instances]]", ca.server_tls(&[])));
    let dir = config_dir(&text, SECRET);
    let served =
        Served::start(program(&["serve", "--log-level", "debug", "--config"]).arg(dir.path().join("mts.toml")));
    let stranger = ca.issue(&client(vec![uri("spiffe://example.org/wbe")]));
    let (certificate, key) = (ca.write("web.pem", &stranger.certificate), ca.write("web.key", &stranger.key));
    let issue = || {
        let mut issue =
            program(&["issue", "--address", served.address(), "--tls-server-name", "localhost", "--tls-ca"]);
        issue.arg(ca.path("ca.pem")).args(PERSON);
        issue
    };
    for _ in 0..12 {
        let (code, _, err) =
            outcome(&run(issue().arg("--tls-certificate").arg(&certificate).arg("--tls-key").arg(&key)));
        assert!(code == Some(1) && err.contains("UNKNOWN_CALLER"), "{err}");
    }
    let (code, _, err) = outcome(&run(&mut issue()));
    assert_eq!(code, Some(1), "{err}");
    served.signal("-TERM");
    let (_, _, log) = served.wait();
    let line = log.lines().find(|line| line.contains("none of the [[callers]] lists this identity")).unwrap();
    assert!(line.contains(" WARN ") && line.contains("identity=spiffe://example.org/wbe proof=\"mtls\""), "{line}");
    let line = log.lines().find(|line| line.contains("TLS handshake failed")).unwrap();
    assert!(line.contains("peer=127.0.0.1:"), "{line}");
}

/// Nobody can reach the service then, and the clients are the only ones who say why.
#[test]
fn a_certificate_that_is_out_of_time_is_told_wherever_somebody_looks() {
    let ca = TestCa::new();
    let text = CONFIG.replace("[[instances]]", &format!("{}\n[[instances]]", ca.server_tls(&[])));
    let dir = config_dir(&text, SECRET);
    let file = dir.path().join("mts.toml");
    for (years, fault) in [
        ((2020, 2021), "has expired at 2021-01-01T00:00:00Z"),
        ((2098, 2099), "is not valid before 2098-01-01T00:00:00Z"),
    ] {
        let own = ca.issue(&Leaf { years, is_for_servers: true, ..client(vec![dns("localhost")]) });
        ca.write("server.pem", &own.certificate);
        ca.write("server.key", &own.key);
        let told = format!("server.pem: a certificate in it {fault}, and clients refuse it: renew it");
        let (code, out, _) = outcome(&run(program(&["config", "check"]).arg(&file)));
        let line = out.lines().find(|line| line.contains(&told));
        assert!(code == Some(0) && line.is_some_and(|line| line.starts_with("# warning: ")), "{out}");
        let (_, out, _) = outcome(&run(program(&["doctor", "--config"]).arg(&file)));
        assert!(out.contains(&told), "{out}");
        let served = Served::start(program(&["serve", "--config"]).arg(&file));
        served.signal("-TERM");
        let (_, _, log) = served.wait();
        assert!(log.lines().any(|line| line.contains(" WARN ") && line.contains(&told)), "{log}");
    }
}
