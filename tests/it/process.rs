//! `serve` as a process: addresses, signals, exit codes.

use std::{
    os::unix::{
        fs::PermissionsExt as _,
        net::{UnixDatagram, UnixListener},
    },
    path::Path,
};

use crate::harness::{CONFIG, SECRET, Served, config_dir, outcome, program, run};

#[test]
fn dev_needs_no_file_and_prints_where_it_is() {
    let served = Served::dev(&mut program(&[]));
    let lines: Vec<&str> = served.announced.lines().collect();
    assert!(lines[0].starts_with("gRPC on 127.0.0.1:") && lines[0].ends_with(" (plaintext)"), "{lines:?}");
    assert!(lines[1].starts_with("metrics on http://127.0.0.1:") && lines[1].ends_with("/metrics"), "{lines:?}");
    let grpcurl = lines.iter().find(|line| line.starts_with("  grpcurl -plaintext -d '{")).unwrap();
    let target = format!("{} metabase.token.v1.MetabaseTokenService/IssueMetabaseToken", served.address());
    assert!(grpcurl.ends_with(&target), "{grpcurl}");
    served.signal("-TERM");
    let (status, rest, _) = served.wait();
    assert_eq!((status.code(), rest.as_str()), (Some(0), ""));
}

#[test]
fn dev_never_listens_beyond_loopback() {
    for (option, address) in [
        ("--listen", "0.0.0.0:0"),
        ("--listen", "192.0.2.1:0"),
        ("--listen", "[::]:0"),
        ("--metrics-listen", "0.0.0.0:0"),
    ] {
        let (code, out, err) = outcome(&run(&mut program(&["serve", "--dev", option, address])));
        assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
        assert!(err.contains(option) && err.contains("loopback"), "{err}");
    }
}

#[test]
fn serve_needs_one_of_config_and_dev() {
    let (code, _, err) = outcome(&run(&mut program(&["serve"])));
    assert!(code == Some(2) && err.contains("--config FILE") && err.contains("METABASE_TOKEN_SERVICE_CONFIG"), "{err}");
    assert!(err.contains("--dev tries it without a configuration"), "{err}");
    let (code, _, err) = outcome(&run(&mut program(&["serve", "--dev", "--config", "x"])));
    assert!(code == Some(2) && err.contains("--dev takes no --config"), "{err}");
    // Set for the machine, not typed: --dev wins.
    let served = Served::dev(program(&[]).env("METABASE_TOKEN_SERVICE_CONFIG", "/nowhere.toml"));
    served.signal("-INT");
    assert_eq!(served.wait().0.code(), Some(0));
}

#[test]
fn bad_variables_of_dev_are_named_and_not_repeated() {
    let (code, _, err) = outcome(&run(program(&["serve", "--dev"]).env("METABASE_URL", "ftp://me:pw@x")));
    assert!(code == Some(78) && err.contains("METABASE_URL: must begin with http://") && !err.contains("pw"), "{err}");
    let weak = "hunter2hunter2hunter2";
    let (code, _, err) = outcome(&run(program(&["serve", "--dev"]).env("METABASE_JWT_SHARED_SECRET", weak)));
    assert!(code == Some(78) && err.contains("METABASE_JWT_SHARED_SECRET") && err.contains("21 bytes"), "{err}");
    assert!(!err.contains(weak));
}

#[test]
fn the_configuration_may_come_from_the_environment() {
    let dir = config_dir(CONFIG, SECRET);
    let file = dir.path().join("mts.toml");
    let served = Served::start(program(&["serve"]).env("METABASE_TOKEN_SERVICE_CONFIG", &file));
    assert!(!served.announced.contains("grpcurl"), "{}", served.announced);
    served.signal("-TERM");
    assert_eq!(served.wait().0.code(), Some(0));
}

#[test]
fn an_address_in_use_is_named() {
    let first = Served::dev(&mut program(&[]));
    let (code, out, err) = outcome(&run(&mut program(&["serve", "--dev", "--listen", first.address()])));
    assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
    assert!(err.contains(&format!("cannot listen on {} (gRPC)", first.address())), "{err}");
    assert!(
        err.contains("; stop what listens there, or take another address with server.listen or --listen\n"),
        "{err}"
    );
    let metrics = ["serve", "--dev", "--listen", "127.0.0.1:0", "--metrics-listen", first.metrics_address()];
    let (_, _, err) = outcome(&run(&mut program(&metrics)));
    assert!(err.contains("(metrics): ") && err.contains("with server.metrics_listen or --metrics-listen\n"), "{err}");
    let (code, _, err) = outcome(&run(&mut program(&["serve", "--dev", "--listen", "unix:/nowhere/mts.sock"])));
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("; the folder /nowhere does not exist: create it, or change server.listen"), "{err}");
}

#[test]
fn a_unix_socket_is_served_and_removed() {
    let dir = config_dir(CONFIG, SECRET);
    let (file, socket) = (dir.path().join("mts.toml"), dir.path().join("mts.sock"));
    let listen = format!("unix:{}", socket.display());
    // Left behind by a process that died.
    drop(UnixListener::bind(&socket).unwrap());
    let serve = || {
        let mut serve = program(&["serve", "--listen", &listen, "--config"]);
        serve.arg(&file);
        serve
    };
    let served = Served::start(&mut serve());
    assert!(served.announced.starts_with(&format!("gRPC on {listen} (plaintext)\n")), "{}", served.announced);
    let mode = || std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    let health = |listen: &str| outcome(&run(&mut program(&["health", "--address", listen])));
    assert_eq!(health(&listen), (Some(0), "SERVING\n".to_owned(), String::new()));
    // A second process does not take the socket of a living one away.
    let (code, _, err) = outcome(&run(&mut serve()));
    assert!(code == Some(1) && err.contains("another process listens"), "{err}");
    served.signal("-TERM");
    assert_eq!(served.wait().0.code(), Some(0));
    assert!(!Path::new(&socket).exists());
    // Nor that of another program, which is of another kind.
    let other = UnixDatagram::bind(&socket).unwrap();
    let (code, _, err) = outcome(&run(&mut serve()));
    assert!(code == Some(1) && err.contains("whether another process listens on the socket cannot be told"), "{err}");
    assert!(Path::new(&socket).exists());
    drop(other);
    std::fs::remove_file(&socket).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let with_mode = format!("\n    listen = \"{listen}\"\nlisten_mode = \"0660\"");
    std::fs::write(&file, text.replace("\n    listen = \"127.0.0.1:0\"", &with_mode)).unwrap();
    let served = Served::start(program(&["serve", "--config"]).arg(&file));
    assert_eq!(mode(), 0o660);
    served.signal("-TERM");
    assert_eq!(served.wait().0.code(), Some(0));
    // Another file is not removed.
    std::fs::write(&socket, "precious").unwrap();
    let (code, _, err) = outcome(&run(&mut serve()));
    assert!(code == Some(1) && err.contains("not a socket"), "{err}");
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "precious");
}

#[test]
fn tokens_and_secrets_reach_no_log() {
    let mut serve = program(&[]);
    serve.env("METABASE_JWT_SHARED_SECRET", SECRET);
    let served = Served::start(serve.args([
        "serve",
        "--dev",
        "--listen",
        "127.0.0.1:0",
        "--metrics-listen",
        "127.0.0.1:0",
        "--log-level",
        "trace",
        "--log-format",
        "json",
    ]));
    let person =
        ["--email", "ada@example.com", "--first-name", "Ada", "--last-name", "Lovelace", "--address", served.address()];
    let (code, jwt, _) = outcome(&run(program(&["issue", "--json", "--return-to", "/"]).args(person)));
    assert_eq!(code, Some(0));
    let jwt: serde_json::Value = serde_json::from_str(&jwt).unwrap();
    let signature = jwt["jwt"].as_str().unwrap().rsplit('.').next().unwrap().to_owned();
    served.signal("-TERM");
    let announced = served.announced.clone();
    let (_, out, log) = served.wait();
    let everything = announced + &out + &log;
    assert!(everything.contains("Drained"), "{everything}");
    // Libraries stay silent at any level: their debug lines may quote requests.
    for line in log.lines() {
        assert!(line.contains("\"target\":\"metabase_token_service"), "{line}");
    }
    for confidential in [SECRET, &signature, "ada@example.com", "Lovelace\",\""] {
        let hits =
            everything.lines().filter(|line| !line.contains("grpcurl")).filter(|line| line.contains(confidential));
        assert_eq!(hits.count(), 0, "{everything}");
    }
}
