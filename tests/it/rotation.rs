//! Whether Metabase holds our secret, and the change from one secret to the next while clients go on.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use metabase_token_service::transport::proto::{
    AuthStatusReason, CheckAuthStatusRequest, CheckAuthStatusResponse, IssueMetabaseTokenRequest,
    check_auth_status_request::Credential, metabase_token_service_client::MetabaseTokenServiceClient,
};
use tempfile::TempDir;
use tokio::time::Instant;
use tonic::{Code, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::{
    harness::{CONFIG, OTHER_SECRET, SECRET, Served, ada, config_dir, outcome, program, replace, run, until},
    metrics::get_blocking,
    reload::{GENERATION, metric, wait_for},
    standin::{ERAS, Era, Fault, Metabase, token},
};

/// The program, and the Metabase it looks at every second.
struct Rotating {
    metabase: Metabase,
    served: Served,
    channel: Channel,
    dir: TempDir,
}

impl Rotating {
    /// `with_next` begins in the midst of a rotation.
    async fn start(era: Era, with_next: bool) -> Self {
        let metabase = Metabase::start(era, SECRET).await;
        let dir = config_dir(&text(&metabase, with_next), SECRET);
        std::fs::write(dir.path().join("next"), OTHER_SECRET).unwrap();
        let text = text(&metabase, with_next).replace("NEXT_FILE", &dir.path().join("next").display().to_string());
        let text = text.replace("SECRET_FILE", &dir.path().join("secret").display().to_string());
        std::fs::write(dir.path().join("mts.toml"), text).unwrap();
        let served = Served::start(program(&["serve", "--config"]).arg(dir.path().join("mts.toml")));
        let channel = Channel::from_shared(format!("http://{}", served.address())).unwrap().connect().await.unwrap();
        Self { metabase, served, channel, dir }
    }

    async fn is_in(&self, state: &str) {
        wait_for(&self.served, &agreement(state), 1).await;
    }

    async fn token(&self) -> String {
        issue(&self.channel).await
    }

    async fn health(&self, service: &str) -> ServingStatus {
        let request = HealthCheckRequest { service: service.to_owned() };
        HealthClient::new(self.channel.clone()).check(request).await.unwrap().into_inner().status()
    }

    async fn judge(&self, jwt: &str) -> (AuthStatusReason, Vec<String>) {
        let response = self.judgement(jwt).await;
        (response.reason(), response.warnings)
    }

    async fn judgement(&self, jwt: &str) -> CheckAuthStatusResponse {
        let credential = Some(Credential::Jwt(jwt.to_owned()));
        let request = CheckAuthStatusRequest { credential, ..CheckAuthStatusRequest::default() };
        let mut client = MetabaseTokenServiceClient::new(self.channel.clone());
        client.check_auth_status(request).await.unwrap().into_inner()
    }
}

fn text(metabase: &Metabase, with_next: bool) -> String {
    let next = if with_next { "next_shared_secret = { file = \"NEXT_FILE\" }" } else { "" };
    CONFIG.replace(
        "probe_interval = \"off\"",
        &format!("probe_interval = \"1s\"\napi_url = \"{}\"\n{next}", metabase.url),
    )
}

fn agreement(state: &str) -> String {
    format!("metabase_token_service_metabase_agreement{{metabase=\"main\",state=\"{state}\"}}")
}

fn signs_with(secret: &str) -> String {
    format!("metabase_token_service_metabase_signing_secret{{metabase=\"main\",secret=\"{secret}\"}}")
}

async fn issue(channel: &Channel) -> String {
    let request = IssueMetabaseTokenRequest { user: Some(ada()), ..IssueMetabaseTokenRequest::default() };
    let mut client = MetabaseTokenServiceClient::new(channel.clone());
    client.issue_metabase_token(request).await.unwrap().into_inner().jwt
}

fn is_signed_with(jwt: &str, secret: &str) -> bool {
    token::unsign(jwt, secret, token::now()).is_ok()
}

/// Issues without pause, and tells for how long at a time Metabase would refuse the tokens.
async fn measure(channel: Channel, metabase: Metabase, windows: Arc<Mutex<Vec<Duration>>>) {
    let mut since = None;
    loop {
        let is_good = metabase.takes(&issue(&channel).await);
        match since {
            None if !is_good => since = Some(Instant::now()),
            Some(began) if is_good => {
                windows.lock().unwrap().push(Instant::now() - began);
                since = None;
            }
            None | Some(_) => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_window_of_refused_tokens_is_a_probe_interval_in_any_version_forth_and_back() {
    for era in ERAS {
        let rotating = Rotating::start(era, true).await;
        rotating.is_in("agrees").await;
        let windows = Arc::<Mutex<Vec<Duration>>>::default();
        let client = tokio::spawn(measure(rotating.channel.clone(), rotating.metabase.clone(), Arc::clone(&windows)));
        for (count, secret, signing) in [(1, OTHER_SECRET, "next_shared_secret"), (2, SECRET, "shared_secret")] {
            rotating.metabase.set(|settings| settings.secret = secret.to_owned());
            wait_for(&rotating.served, &signs_with(signing), 1).await;
            assert!(is_signed_with(&rotating.token().await, secret), "{era:?}");
            until("a window that is over", async || windows.lock().unwrap().len() >= count).await;
        }
        client.abort();
        let windows = windows.lock().unwrap().clone();
        assert_eq!(windows.len(), 2, "{era:?}: {windows:?}");
        #[expect(clippy::print_stdout, reason = "the measured figure")]
        {
            println!("{era:?}: tokens were refused for {windows:?} at a probe interval of 1 s");
        }
        // A probe has no effect, and exchanges of clients are all there is.
        assert_eq!(rotating.metabase.users(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_metabase_or_a_third_secret_changes_nothing() {
    let rotating = Rotating::start(Era::ToSession, true).await;
    rotating.metabase.set(|settings| settings.secret = OTHER_SECRET.to_owned());
    wait_for(&rotating.served, &signs_with("next_shared_secret"), 1).await;
    assert_eq!(rotating.health("metabase/main").await, ServingStatus::Serving);
    for (fault, secret, state) in [
        (Fault::Starting, OTHER_SECRET, "unknown"),
        (Fault::Reset, OTHER_SECRET, "unknown"),
        (Fault::None, "somebody else has changed it to a third", "disagrees"),
    ] {
        rotating.metabase.set(|settings| (settings.fault, settings.secret) = (fault, secret.to_owned()));
        rotating.is_in(state).await;
        assert!(is_signed_with(&rotating.token().await, OTHER_SECRET));
        assert_eq!(rotating.health("metabase/main").await, ServingStatus::NotServing);
        assert_eq!(rotating.health("readiness").await, ServingStatus::Serving);
    }
    let judged = rotating.judgement(&rotating.token().await).await;
    assert_eq!(judged.reason(), AuthStatusReason::Accepted);
    assert!(judged.warnings.iter().any(|warning| warning.contains("Metabase held another secret")), "{judged:?}");
    // Nobody who reads the message alone is misled.
    assert!(judged.message.contains("but Metabase would refuse it: when asked "), "{judged:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_started_in_the_midst_of_a_rotation_signs_with_the_right_secret_at_once() {
    let metabase = Metabase::start(Era::Plain, OTHER_SECRET).await;
    let dir = config_dir(&text(&metabase, true), SECRET);
    std::fs::write(dir.path().join("next"), OTHER_SECRET).unwrap();
    let file = dir.path().join("mts.toml");
    let next = dir.path().join("next").display().to_string();
    std::fs::write(&file, std::fs::read_to_string(&file).unwrap().replace("NEXT_FILE", &next)).unwrap();
    let served = Served::start(program(&["serve", "--config"]).arg(&file));
    let channel = Channel::from_shared(format!("http://{}", served.address())).unwrap().connect().await.unwrap();
    assert!(is_signed_with(&issue(&channel).await, OTHER_SECRET));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_is_prepared_observed_activated_and_retired_by_reloads() {
    let rotating = Rotating::start(Era::Plain, false).await;
    rotating.is_in("agrees").await;
    let file = rotating.dir.path().join("mts.toml");
    let without = std::fs::read_to_string(&file).unwrap();
    let next =
        format!("next_shared_secret = {{ file = \"{}\" }}\n[[callers]]", rotating.dir.path().join("next").display());
    // Prepare.
    replace(&file, without.replacen("[[callers]]", &next, 1));
    wait_for(&rotating.served, GENERATION, 2).await;
    let old = rotating.token().await;
    assert!(is_signed_with(&old, SECRET));
    // Observe, activate.
    rotating.metabase.set(|settings| settings.secret = OTHER_SECRET.to_owned());
    wait_for(&rotating.served, &signs_with("next_shared_secret"), 1).await;
    let new = rotating.token().await;
    assert!(is_signed_with(&new, OTHER_SECRET));
    assert_eq!(rotating.judge(&old).await.0, AuthStatusReason::SignedWithRetiredSecret);
    assert_eq!(rotating.judge(&new).await.0, AuthStatusReason::Accepted);
    // Retire: the next secret becomes the only one, and goes on signing without a question to Metabase.
    rotating.metabase.set(|settings| settings.fault = Fault::Hang);
    replace(&rotating.dir.path().join("secret"), OTHER_SECRET);
    replace(&file, &without);
    until("the new secret is the only one", async || {
        metric(&rotating.served, GENERATION) >= 3 && is_signed_with(&rotating.token().await, OTHER_SECRET)
    })
    .await;
    assert_eq!(rotating.judge(&old).await.0, AuthStatusReason::SignatureMismatch);
    assert_eq!(rotating.metabase.users(), 0);
}

/// What was seen last says nothing any more, and would page somebody for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_is_looked_at_no_more_is_forgotten() {
    let rotating = Rotating::start(Era::ToSession, false).await;
    rotating.metabase.set(|settings| settings.secret = OTHER_SECRET.to_owned());
    rotating.is_in("disagrees").await;
    assert_eq!(rotating.health("metabase/main").await, ServingStatus::NotServing);
    let file = rotating.dir.path().join("mts.toml");
    replace(
        &file,
        std::fs::read_to_string(&file).unwrap().replace("probe_interval = \"1s\"", "probe_interval = \"off\""),
    );
    let served = &rotating.served;
    until("what was seen is forgotten", async || {
        !get_blocking(served.metrics_address(), "/metrics").contains("metabase=\"main\",state=")
    })
    .await;
    let request = HealthCheckRequest { service: "metabase/main".to_owned() };
    let status = HealthClient::new(rotating.channel.clone()).check(request).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
}

/// Step 4 as docs/operations.md has it: one edit of the configuration, no file of a secret touched.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_is_finished_by_one_edit_and_nothing_is_said_to_change_by_it() {
    let rotating = Rotating::start(Era::ToSession, true).await;
    rotating.is_in("agrees").await;
    rotating.metabase.set(|settings| settings.secret = OTHER_SECRET.to_owned());
    wait_for(&rotating.served, &signs_with("next_shared_secret"), 1).await;
    let (file, next) = (rotating.dir.path().join("mts.toml"), rotating.dir.path().join("next").display().to_string());
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replace(&format!("next_shared_secret = {{ file = \"{next}\" }}"), "");
    let old = rotating.dir.path().join("secret").display().to_string();
    replace(&file, text.replace(&old, &next));
    // The first look after the reload.
    wait_for(&rotating.served, &signs_with("shared_secret"), 1).await;
    rotating.is_in("agrees").await;
    assert!(is_signed_with(&rotating.token().await, OTHER_SECRET));
    rotating.served.signal("-TERM");
    let (_, _, log) = rotating.served.wait();
    assert_eq!(log.matches("Another secret signs from now on").count(), 1, "{log}");
}

/// Step 4 where the contents of the files change: whatever is started or reloaded in between goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_next_secret_that_is_the_current_one_is_a_warning_and_stops_nothing() {
    let rotating = Rotating::start(Era::ToSession, true).await;
    rotating.is_in("agrees").await;
    rotating.metabase.set(|settings| settings.secret = OTHER_SECRET.to_owned());
    wait_for(&rotating.served, &signs_with("next_shared_secret"), 1).await;
    replace(&rotating.dir.path().join("secret"), OTHER_SECRET);
    wait_for(&rotating.served, GENERATION, 2).await;
    assert!(is_signed_with(&rotating.token().await, OTHER_SECRET));
    let warning = "next_shared_secret: is the secret that `shared_secret` is: the rotation is finished, remove next_shared_secret";
    let file = rotating.dir.path().join("mts.toml");
    let (code, out, err) = outcome(&run(program(&["config", "check"]).arg(&file)));
    assert!(code == Some(0) && out.contains(&format!("# warning: {}:", file.display())), "{out}{err}");
    assert!(out.contains(warning), "{out}");
    let started = Served::start(program(&["serve", "--config"]).arg(&file));
    let channel = Channel::from_shared(format!("http://{}", started.address())).unwrap().connect().await.unwrap();
    assert!(is_signed_with(&issue(&channel).await, OTHER_SECRET));
    rotating.served.signal("-TERM");
    let (_, _, log) = rotating.served.wait();
    assert!(log.contains(warning), "{log}");
}
