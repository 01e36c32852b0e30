//! A configuration or secret that cannot be used is refused at start, with one clear line for each fault.

use std::{fs, os::unix::fs::PermissionsExt as _};

use crate::{
    harness::{CONFIG, OTHER_SECRET, SECRET, Served, config_dir, outcome, program, run},
    pki::TestCa,
};

const EX_CONFIG: Option<i32> = Some(78);

#[test]
fn config_check_prints_the_effective_configuration_without_the_secret() {
    let dir = config_dir(CONFIG, SECRET);
    fs::set_permissions(dir.path().join("secret"), fs::Permissions::from_mode(0o400)).unwrap();
    let file = dir.path().join("mts.toml");
    let (code, out, err) = outcome(&run(&mut program(&["config", "check", file.to_str().unwrap()])));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    for line in ["listen = \"127.0.0.1:0\"", "tenancy = \"forbidden\"", "max = \"3600s\"", "email = \"email\""] {
        assert!(out.contains(line), "{line} in\n{out}");
    }
    assert!(!out.contains(SECRET));
    assert!(!out.contains("warning"), "{out}");
}

#[test]
fn a_file_that_others_can_read_is_a_warning_with_its_mode() {
    let dir = config_dir(CONFIG, SECRET);
    let file = dir.path().join("mts.toml");
    for mode in [0o640, 0o604] {
        fs::set_permissions(dir.path().join("secret"), fs::Permissions::from_mode(mode)).unwrap();
        let expected = format!("has mode 0{mode:o}: group or others can reach the secret");
        let (code, out, _) = outcome(&run(&mut program(&["config", "check", file.to_str().unwrap()])));
        assert!(code == Some(0) && out.contains(&expected), "{out}");
        let served = Served::start(&mut program(&["serve", "--config", file.to_str().unwrap()]));
        served.signal("-TERM");
        let (_, _, log) = served.wait();
        assert!(log.contains(&expected), "{log}");
    }
}

/// Only root can give a file away; for others there is nothing to see.
#[test]
fn a_file_of_another_owner_is_a_warning() {
    let dir = config_dir(CONFIG, SECRET);
    let secret = dir.path().join("secret");
    if std::os::unix::fs::chown(&secret, Some(65_534), None).is_err() {
        return;
    }
    let file = dir.path().join("mts.toml");
    let (code, out, _) = outcome(&run(&mut program(&["config", "check", file.to_str().unwrap()])));
    assert!(code == Some(0) && out.contains("belongs to user 65534, who can read and replace the secret"), "{out}");
}

#[test]
fn a_secret_that_cannot_be_used_is_refused_at_start_and_not_repeated() {
    let quoted = format!("'{SECRET}'");
    let with_newline = format!("{SECRET}\n");
    let with_mark = format!("\u{feff}{SECRET}");
    let with_space = format!("{SECRET} ");
    let (all_f, all_0) = ("f".repeat(64), "0".repeat(64));
    for (secret, rule) in [
        ("", "is empty"),
        (with_newline.as_str(), "ends with a line break"),
        (with_space.as_str(), "begins or ends with white space"),
        (with_mark.as_str(), "byte order mark"),
        (quoted.as_str(), "wrapped in quotes"),
        (&SECRET[..31], "has 31 bytes; at least 32 are required"),
        (all_f.as_str(), "only 1 distinct characters"),
        (all_0.as_str(), "only 1 distinct characters"),
        ("152f7e25e62baf2441ca63c3fd7bb08ce78bb52717e7b4f05c854b4f8901d4b0", "published sample value"),
        ("shared secret string with metabase", "published sample value"),
    ] {
        let dir = config_dir(CONFIG, secret);
        let file = dir.path().join("mts.toml");
        for command in [&["serve", "--config"], &["config", "check"]] {
            let (code, out, err) = outcome(&run(program(command).arg(&file)));
            assert_eq!((code, out.as_str()), (EX_CONFIG, ""), "{rule}: {err}");
            let place = format!("error: {}:12: instances[0].shared_secret: file ", file.display());
            assert!(err.starts_with(&place) && err.contains(rule) && err.lines().count() == 1, "{rule}: {err}");
            assert!(secret.len() < 9 || !err.contains(&secret[..secret.len().min(20)]), "{err}");
        }
    }
}

#[test]
fn secrets_come_from_environment_and_credentials_too() {
    let env = CONFIG.replace("{ file = \"SECRET_FILE\" }", "{ env = \"MAIN_SECRET\" }");
    let credential = CONFIG.replace("{ file = \"SECRET_FILE\" }", "{ credential = \"secret\" }");
    for (config, variable, value_is_secret) in
        [(env, "MAIN_SECRET", true), (credential, "CREDENTIALS_DIRECTORY", false)]
    {
        let dir = config_dir(&config, SECRET);
        let file = dir.path().join("mts.toml");
        let mut check = program(&["config", "check", file.to_str().unwrap()]);
        let (code, _, err) = outcome(&run(&mut check));
        assert!(code == EX_CONFIG && err.contains("is not set"), "{err}");
        let value = if value_is_secret { SECRET.to_owned() } else { dir.path().display().to_string() };
        let (code, out, err) = outcome(&run(check.env(variable, value)));
        assert_eq!((code, err.as_str()), (Some(0), ""));
        assert!(!out.contains(SECRET));
    }
}

#[test]
fn one_secret_for_two_instances_is_refused() {
    let second = "[[instances]]\nname = \"second\"\nshared_secret = { env = \"SECOND\" }\n[[callers]]";
    let dir = config_dir(&CONFIG.replace("[[callers]]", second), SECRET);
    let file = dir.path().join("mts.toml");
    let mut check = program(&["config", "check", file.to_str().unwrap()]);
    let (code, _, err) = outcome(&run(check.env("SECOND", SECRET)));
    assert_eq!(code, EX_CONFIG);
    assert!(err.contains("instances[1].shared_secret: is used elsewhere, too"), "{err}");
    assert!(!err.contains(SECRET));
    assert_eq!(outcome(&run(check.env("SECOND", OTHER_SECRET))).0, Some(0));
}

#[test]
fn a_missing_file_is_named() {
    let dir = config_dir(CONFIG, SECRET);
    fs::remove_file(dir.path().join("secret")).unwrap();
    let file = dir.path().join("mts.toml");
    let (code, _, err) = outcome(&run(&mut program(&["serve", "--config", file.to_str().unwrap()])));
    assert!(code == EX_CONFIG && err.contains("cannot be read: No such file"), "{err}");
    let (code, _, err) = outcome(&run(&mut program(&["serve", "--config", "/nowhere.toml"])));
    assert!(code == EX_CONFIG && err.contains("/nowhere.toml: cannot be read: No such file"), "{err}");
}

#[test]
fn an_unknown_key_is_refused_with_file_line_and_key() {
    let dir = config_dir(&CONFIG.replace("name = \"main\"", "name = \"main\"\nleeway = 60"), SECRET);
    let file = dir.path().join("mts.toml");
    let (code, _, err) = outcome(&run(&mut program(&["config", "check", file.to_str().unwrap()])));
    assert_eq!(code, EX_CONFIG);
    let expected = format!("error: {}:10: instances[0].leeway: unknown field `leeway`", file.display());
    assert!(err.starts_with(&expected), "{err}");
}

#[test]
fn the_configuration_of_the_readme_is_valid() {
    let readme = include_str!("../../README.md");
    let toml = readme.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let dir = config_dir(&toml.replace("/run/secrets/metabase-jwt", "SECRET_FILE"), SECRET);
    let file = dir.path().join("mts.toml");
    let (code, _, err) = outcome(&run(&mut program(&["config", "check", file.to_str().unwrap()])));
    assert_eq!((code, err.as_str()), (Some(0), ""));
}

#[test]
fn the_configuration_of_the_documentation_is_valid_and_its_files_are_looked_at() {
    let documentation = include_str!("../../docs/configuration.md");
    let toml = documentation.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let ca = TestCa::new();
    let _ = ca.server_tls(&[]);
    let text = toml
        .replace("/run/secrets/metabase-jwt", "SECRET_FILE")
        .replace("/run/tls/tls.crt", ca.path("server.pem").to_str().unwrap())
        .replace("/run/tls/tls.key", ca.path("server.key").to_str().unwrap())
        .replace("/run/tls/ca.crt", ca.path("ca.pem").to_str().unwrap());
    let dir = config_dir(&text, SECRET);
    let file = dir.path().join("mts.toml");
    let check = || outcome(&run(&mut program(&["config", "check", file.to_str().unwrap()])));
    let (code, _, err) = check();
    assert_eq!((code, err.as_str()), (Some(0), ""));
    ca.write("server.key", "not a key");
    let (code, out, err) = check();
    assert_eq!((code, out.as_str()), (EX_CONFIG, ""));
    assert!(err.contains("server.tls: ") && err.contains("server.key: holds no private key in PEM form"), "{err}");
    // A key of another certificate.
    ca.write("server.key", &ca.issue_server(2).key);
    let (code, _, err) = check();
    assert!(code == EX_CONFIG && err.contains("server.key do not go together: renew both"), "{err}");
}

#[test]
fn a_server_that_can_authenticate_nobody_says_so() {
    let dir = config_dir(&CONFIG.replace("identity = { local = \"shop\" }", ""), SECRET);
    let file = dir.path().join("mts.toml");
    let (code, out, _) = outcome(&run(&mut program(&["config", "check", file.to_str().unwrap()])));
    assert!(code == Some(0) && out.contains("# warning: no caller can prove who it is"), "{out}");
}

#[test]
fn mistakes_of_one_kind_come_at_once_and_in_the_order_of_the_file() {
    let dir = config_dir(CONFIG, "short");
    let file = dir.path().join("mts.toml");
    let text = fs::read_to_string(&file).unwrap();
    let check = || outcome(&run(&mut program(&["config", "check", file.to_str().unwrap()])));
    let lines_of = |err: &str, expected: &[&str]| {
        let lines: Vec<_> = err.lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), expected.len(), "{err}");
        for (line, expected) in lines.iter().zip(expected) {
            assert!(line.contains(expected), "{expected} in {line}");
        }
    };
    let wrong = text
        .replace("[server]", "[server]\n    limits = { max_in_flight = \"9\" }\n    leeway = 1")
        .replace("tenants = [\"*\"]", "tenants = \"*\"\n    tenant = 1");
    fs::write(&file, wrong).unwrap();
    let (code, _, err) = check();
    assert_eq!(code, EX_CONFIG);
    lines_of(
        &err,
        &[
            ":3: server.limits.max_in_flight: invalid type: string \"9\", expected a whole number",
            ":4: server.leeway: unknown field `leeway`",
            "callers[0].grants[0].tenants: invalid type: string \"*\", expected a list",
            "callers[0].grants[0].tenant: unknown field `tenant`",
        ],
    );
    let wrong = text.replace("listen = \"127.0.0.1:0\"\n    metrics", "listen = \"localhost:1\"\n    metrics");
    fs::write(&file, wrong.replace("https://bi.example.com/metabase", "ftp://x")).unwrap();
    let (_, _, err) = check();
    lines_of(&err, &[":3: server.listen: must be an IP address and a port", ": instances[0].url: "]);
    assert!(err.contains("names are not looked up"), "{err}");
    // Secrets and other files at once.
    let tls = "[server.tls]\ncertificate = \"/nowhere.pem\"\nprivate_key = \"/nowhere.key\"\n[[instances]]";
    let audit = "\n[audit]\nsink = { file = \"/nowhere/audit.jsonl\" }\nsubject = \"plain\"\n";
    fs::write(&file, text.replace("[[instances]]", tls) + audit).unwrap();
    let (code, _, err) = check();
    assert_eq!(code, EX_CONFIG);
    lines_of(&err, &["shared_secret: file", "server.tls: /nowhere.pem: cannot be read", "audit.sink: /nowhere/audit"]);
}

#[test]
fn a_grant_of_administrators_without_its_switch_is_a_warning() {
    for (groups, is_warned) in [
        ("groups = [\"Customers\", \"Administrators\"]", true),
        ("groups = [\"administrators\"]", true),
        ("groups = [\"Administrators\"]\n    allow_administrators = true", false),
        ("groups = [\"*\"]", false),
    ] {
        let dir = config_dir(&CONFIG.replace("groups = [\"*\"]", groups), SECRET);
        let file = dir.path().join("mts.toml");
        let (code, out, err) = outcome(&run(&mut program(&["config", "check", file.to_str().unwrap()])));
        let warning = format!("# warning: {}: callers[0].grants[0].groups: names Administrators,", file.display());
        assert_eq!((code, out.contains(&warning)), (Some(0), is_warned), "{groups}: {out}{err}");
    }
}
