//! Connections that do not behave, and how the drain ends for each.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    process::{Command, Stdio},
    time::Duration,
};

use metabase_token_service::transport::proto::{IssueMetabaseTokenRequest, IssueMetabaseTokenResponse};
use tokio_stream::pending;
use tonic::{Request, client::Grpc, transport::Channel};

use crate::{
    frames::{PREFACE, SETTINGS},
    harness::{CONFIG, SECRET, Served, ada, config_dir, program},
    reload::{metric, wait_for},
};

fn connect(served: &Served, words: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(served.address()).unwrap();
    stream.write_all(words).unwrap();
    // Far beyond every limit: a connection that stays open fails the test instead of hanging it.
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    stream
}

/// Whether the server closes the connection, whatever it says before.
fn is_closed(mut stream: TcpStream) -> bool {
    match stream.read_to_end(&mut Vec::new()) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn a_client_that_does_not_begin_is_sent_away() {
    let served = Served::dev(&mut program(&[]));
    let silent = [&b""[..], &PREFACE[..10]].map(|words| connect(&served, words));
    let wrong = connect(&served, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    for stream in silent.into_iter().chain([wrong]) {
        assert!(is_closed(stream));
    }
}

#[test]
fn connections_without_an_rpc_do_not_fail_the_drain() {
    let served = Served::dev(&mut program(&[]));
    let _silent = connect(&served, b"");
    // Speaks, and then never answers the server's pings.
    let _frozen = connect(&served, &[PREFACE, SETTINGS].concat());
    served.signal("-TERM");
    let (status, _, log) = served.wait();
    assert_eq!(status.code(), Some(0), "{log}");
}

/// Without a file for the next connection, nobody would be accepted any more: neither probes nor whoever asks for metrics.
#[tokio::test]
async fn no_more_connections_are_let_in_than_there_are_files_for() {
    const FILES: usize = 100;
    let dir = config_dir(CONFIG, SECRET);
    let mut shell = Command::new("/bin/sh");
    // As in a container, where the soft limit is for programs of another age.
    shell.args(["-c", &format!("ulimit -S -n 50; ulimit -H -n {FILES}; exec \"$@\""), "sh"]);
    shell.args([env!("CARGO_BIN_EXE_metabase-token-service"), "serve", "--config"]).arg(dir.path().join("mts.toml"));
    let served = Served::start(shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()));
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", served.pid())).unwrap();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().take(2).collect::<Vec<_>>(), ["100", "100"]);
    // Half of so few files are for others.
    let held: Vec<TcpStream> = (0..FILES / 2).map(|_| connect(&served, &[PREFACE, SETTINGS].concat())).collect();
    wait_for(&served, "metabase_token_service_connections{listener=\"grpc\"}", held.len()).await;
    assert!(is_closed(connect(&served, &[PREFACE, SETTINGS].concat())));
    assert_eq!(metric(&served, "metabase_token_service_connections_refused_total{listener=\"grpc\"}"), 1);
    drop(held);
    served.signal("-TERM");
    let (_, _, log) = tokio::task::spawn_blocking(|| served.wait()).await.unwrap();
    assert!(log.contains("max_connections is 4096, but the limit of open files has room for 50 connections"), "{log}");
    assert!(log.contains("raise it to 4496 or more"), "{log}");
}

#[tokio::test]
async fn an_rpc_that_is_cut_off_fails_the_drain() {
    let text = CONFIG.replace("announce_delay = \"0s\"", "announce_delay = \"0s\", grace_period = \"1s\"");
    let dir = config_dir(
        &text.replace(
            "\n    [[instances]]",
            "\n    limits = { deadline = \"1m\", body_timeout = \"1m\" }\n    [[instances]]",
        ),
        SECRET,
    );
    let served = Served::start(program(&["serve", "--config"]).arg(dir.path().join("mts.toml")));
    let channel = Channel::from_shared(format!("http://{}", served.address())).unwrap().connect().await.unwrap();
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.unwrap();
    let never_ends = tokio::spawn(async move {
        let requests = Request::new(tokio_stream::StreamExt::chain(
            tokio_stream::once(IssueMetabaseTokenRequest { user: Some(ada()), ..Default::default() }),
            pending(),
        ));
        let codec = tonic_prost::ProstCodec::<_, IssueMetabaseTokenResponse>::default();
        let path = "/metabase.token.v1.MetabaseTokenService/IssueMetabaseToken".parse().unwrap();
        grpc.client_streaming(requests, path, codec).await
    });
    wait_for(&served, "metabase_token_service_rpcs_in_flight", 1).await;
    served.signal("-TERM");
    let (status, _, log) = tokio::task::spawn_blocking(|| served.wait()).await.unwrap();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("1s were not enough to finish what was in flight"), "{log}");
    never_ends.await.unwrap().unwrap_err();
}
