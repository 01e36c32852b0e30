//! Who may use the store, and what is said about those who may not.

use std::{fs, process::Command};

use crate::{
    redis_process::{Options, PASSWORD, Redis, USER},
    replica::config,
};

fn doctor(dir: &tempfile::TempDir) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_metabase-token-service"));
    let output = command.args(["doctor", "--config"]).arg(dir.path().join("mts.toml")).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn doctor_tells_whether_the_store_can_be_used() {
    let mut redis = Redis::start(Options { tls: true, acl: true, ..Options::default() });
    let dir = config(&[&redis], "enforce", "on_store_failure = \"deny\"");
    let (code, out) = doctor(&dir);
    assert!(code == Some(0) && out.contains("ok    accounts       The account store answers"), "{out}");
    // Nothing that lasts is left behind.
    let key = redis.cli(&["KEYS", "mts:account:2:*"]);
    assert!(key.is_empty() || redis.cli(&["TTL", &key]).parse::<i64>().unwrap() <= 1, "{key}");

    let refused = |rule: &str| {
        let (code, out) = doctor(&dir);
        assert!(code == Some(3) && out.contains("fail  accounts") && out.contains(rule), "{rule}: {out}");
        assert!(!out.contains(PASSWORD) && !out.contains("tr0ub4dor"), "{out}");
    };
    fs::write(dir.path().join("password"), "tr0ub4dor").unwrap();
    refused("Password authentication failed");
    fs::write(dir.path().join("password"), PASSWORD).unwrap();
    // A user who may read and not write.
    redis.cli(&["ACL", "SETUSER", USER, "-set"]);
    refused("The account store cannot be used");
    redis.kill();
    refused("The account store cannot be used");
}

#[test]
fn a_server_of_another_ca_is_not_believed() {
    let [redis, other] = [(); 2].map(|()| Redis::start(Options { tls: true, ..Options::default() }));
    let dir = config(&[&redis], "enforce", "on_store_failure = \"deny\"");
    assert!(doctor(&dir).1.contains("ok    accounts"));
    let text = fs::read_to_string(dir.path().join("mts.toml")).unwrap();
    let [own, theirs] = [&redis, &other].map(|redis| redis.path("ca.pem").display().to_string());
    fs::write(dir.path().join("mts.toml"), text.replace(&own, &theirs)).unwrap();
    let (code, out) = doctor(&dir);
    assert!(code == Some(3) && out.contains("fail  accounts"), "{out}");
}
