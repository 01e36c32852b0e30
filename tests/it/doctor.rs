//! `doctor` as text and by its exit code; what it finds out is held to a stand-in for Metabase by the interop suite.

use std::net::TcpListener;

use crate::{
    harness::{CONFIG, OTHER_SECRET, SECRET, config_dir, outcome, program, run},
    standin::{Era, Metabase},
};

fn doctor(config: &str, secret: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let dir = config_dir(config, secret);
    let mut command = program(&["doctor", "--config"]);
    outcome(&run(command.arg(dir.path().join("mts.toml")).args(arguments)))
}

fn at(url: &str) -> String {
    CONFIG.replace("https://bi.example.com/metabase", url)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_and_a_wrong_secret_are_told_as_text_without_a_trace_in_metabase() {
    let metabase = Metabase::start(Era::ToSession, SECRET).await;
    let (code, out, err) = doctor(&at(&metabase.url), SECRET, &[]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("  ok    secret         Metabase holds `shared_secret`\n"), "{out}");
    let (code, out, err) = doctor(&at(&metabase.url), OTHER_SECRET, &[]);
    assert_eq!((code, err.as_str()), (Some(3), ""), "{out}");
    assert!(out.contains("  fail  secret         Metabase holds another secret"), "{out}");
    assert!(out.contains("\n                       -> set the same key in Metabase"), "{out}");
    assert!(out.contains("MB_JWT_SHARED_SECRET"), "{out}");
    let denied = at(&metabase.url).replace("[[instances]]", "[deny]\nemails = [\"canary@example.com\"]\n[[instances]]");
    let (code, out, _) = doctor(&denied, SECRET, &["--canary", "canary@example.com"]);
    assert_eq!(code, Some(3), "{out}");
    assert!(out.contains("The configuration denies the canary: USER_DENIED"), "{out}");
    assert!(out.contains("-> name another with `--canary`, or take this one out of [deny] emails"), "{out}");
    assert_eq!((metabase.users(), metabase.sessions_ever()), (0, 0));
}

#[test]
fn an_unreachable_metabase_fails_and_a_broken_configuration_is_told_as_such() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let (code, out, _) = doctor(&at(&closed), SECRET, &[]);
    assert_eq!(code, Some(3), "{out}");
    assert!(out.contains("  fail  reachable      Metabase refuses the connection"), "{out}");
    assert!(out.contains(&format!("-> try `curl -v {closed}")), "{out}");
    // What holds is one line.
    assert!(out.matches("  ok    hardening ").count() <= 1, "{out}");

    let (code, out, err) = doctor(CONFIG, &format!("{SECRET}\n"), &["--json"]);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, err.as_str(), report["verdict"].as_str()), (Some(78), "", Some("fail")), "{out}");
    assert_eq!(report["checks"][0]["check"], "configuration");
    assert!(report["checks"][0]["message"].as_str().unwrap().contains("ends with a line break"), "{out}");
}
