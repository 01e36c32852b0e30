//! A fixed number of issues in one process, for counting instructions: `bench/instructions` runs this under callgrind with two
//! numbers, and the difference is what the issues in between cost.
//!
//! `issue_instructions application N` asks the use case alone. `issue_instructions dev N` and `issue_instructions production N` ask
//! the whole server over a connection to itself, one request after the other, as a client that costs next to nothing: it sends the
//! same bytes again and again and looks only at lengths. Production is the configuration behind a sidecar, with a policy, an audit log
//! of durability "written" and the caller's identity forwarded; TLS is left out, since its cost is that of a library's cipher.
//! Without arguments, a few of each.

#[path = "issue/mod.rs"]
mod issue;
#[path = "busy/raw_client.rs"]
mod raw_client;
#[path = "issue/variant.rs"]
mod variant;

use std::{env, net::SocketAddr, process::ExitCode, sync::Arc, thread};

use metabase_token_service::{
    adapters::{account_store, clock::SystemClock, load_generation},
    app::App,
    application::{audit::Audit, generation::Generations, issue_token::IssueToken, shadow::Shadow},
    config::{Config, ListenAddress},
    lifecycle::Stop,
    telemetry::Metrics,
};
use prost::Message as _;
use tokio::sync::oneshot;

use crate::{raw_client::RawClient, variant::Variant};

/// Only the use case.
async fn application(count: usize) {
    let files = issue::files(Variant::Dev.own());
    let config = Config::parse(&files.text, "bench").expect("the text is valid");
    let generation = load_generation::load(&config, "bench").expect("the secrets are there").generation;
    let (clock, metrics) = (Arc::new(SystemClock), Arc::<Metrics>::default());
    let audit = Arc::new(Audit::off(clock.clone()));
    let accounts = account_store::open(&config.accounts, metrics.accounts.clone()).await.expect("it is in memory");
    let generations = Arc::new(Generations::new(generation));
    let issue = IssueToken::new(generations, clock, Shadow::new(metrics), Arc::new(accounts), audit);
    let caller = issue::caller();
    for _ in 0..count {
        let issued = issue.execute(&caller, "", issue::unverified()).await.expect("a token");
        assert!(issued.token.expose().len() > 100, "a token");
    }
}

/// The whole server.
async fn server(variant: Variant, count: usize) {
    let files = issue::files(variant.own());
    let config = Config::parse(&files.text, "bench").expect("the text is valid");
    let generation = load_generation::load(&config, "bench").expect("the secrets are there").generation;
    let app = App::bind(config, None, generation, Arc::new(SystemClock)).await.expect("bound");
    let address: SocketAddr = match app.addresses().expect("bound").grpc {
        ListenAddress::Tcp(address) => address,
        ListenAddress::Unix(path) => unreachable!("{} is not TCP", path.display()),
    };
    let (finished, is_finished) = oneshot::channel();
    let client = thread::spawn(move || {
        let message = variant::message().encode_to_vec();
        let mut client = RawClient::connect(address, true, None, variant.headers(), &message);
        for _ in 0..count {
            client.ask(&message);
        }
        finished.send(())
    });
    tokio::select! {
        ended = app.run(Stop::default()) => unreachable!("{ended:?} before the client had finished"),
        asked = is_finished => asked.expect("every request is answered"),
    }
    client.join().expect("every request is answered").expect("the server waits");
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *words.as_slice() {
        [] => {
            application(10).await;
            Box::pin(server(Variant::Dev, 10)).await;
            Box::pin(server(Variant::Production, 10)).await;
        }
        [variant, count] => {
            let count = count.parse().expect("a number");
            match variant {
                "application" => application(count).await,
                "dev" => Box::pin(server(Variant::Dev, count)).await,
                "production" => Box::pin(server(Variant::Production, count)).await,
                _ => return ExitCode::from(64),
            }
        }
        _ => return ExitCode::from(64),
    }
    ExitCode::SUCCESS
}
