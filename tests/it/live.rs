//! Credentials that Metabase itself is asked about, at a stand-in for it.

use std::time::Duration;

use metabase_token_service::transport::proto::{
    AuthStatus, AuthStatusReason, CheckAuthStatusRequest, CheckAuthStatusResponse, IssueMetabaseTokenRequest,
    check_auth_status_request::Credential,
};
use tonic::{Code, Request};

use crate::{
    harness::{CONFIG, NOW, OTHER_SECRET, SECRET, TestServer, ada, until},
    limits::with_limits,
    standin::{ERAS, Era, Fault, Metabase, Settings, now},
};

/// A service and its Metabase, whose clocks agree.
struct Pair {
    service: TestServer,
    metabase: Metabase,
}

impl Pair {
    async fn start(era: Era) -> Self {
        Self::with(era, "").await
    }

    /// With more lines for the instance.
    async fn with(era: Era, lines: &str) -> Self {
        Self::of(era, &CONFIG.replace("name = \"main\"", &format!("name = \"main\"\n{lines}"))).await
    }

    async fn of(era: Era, config: &str) -> Self {
        let metabase = Metabase::start(era, SECRET).await;
        metabase.set(|settings| settings.skew = NOW - now());
        let api_url = format!("name = \"main\"\napi_url = \"{}\"", metabase.url);
        let service = TestServer::with(&config.replace("name = \"main\"", &api_url)).await;
        Self { service, metabase }
    }

    async fn token(&self) -> String {
        let request = IssueMetabaseTokenRequest {
            user: Some(ada()),
            attributes: [("region".to_owned(), "emea".to_owned())].into(),
            ..IssueMetabaseTokenRequest::default()
        };
        self.service.client.clone().issue_metabase_token(request).await.unwrap().into_inner().jwt
    }

    async fn check(&self, credential: Credential) -> CheckAuthStatusResponse {
        let mut request = Request::new(live(credential));
        request.set_timeout(Duration::from_secs(2));
        self.service.client.clone().check_auth_status(request).await.unwrap().into_inner()
    }

    async fn check_token(&self) -> CheckAuthStatusResponse {
        self.check(Credential::Jwt(self.token().await)).await
    }
}

fn live(credential: Credential) -> CheckAuthStatusRequest {
    CheckAuthStatusRequest { instance: String::new(), credential: Some(credential), live: true }
}

type Change = fn(&mut Settings);

#[track_caller]
fn assert_says(response: &CheckAuthStatusResponse, status: AuthStatus, reason: AuthStatusReason, message: &str) {
    assert_eq!((response.status(), response.reason()), (status, reason), "{response:?}");
    assert!(response.message.contains(message), "{response:?}");
}

#[tokio::test]
async fn a_live_check_signs_in_reads_the_person_back_and_leaves_no_session_in_any_version() {
    for era in ERAS {
        let pair = Pair::start(era).await;
        let response = pair.check_token().await;
        assert_says(&response, AuthStatus::Success, AuthStatusReason::Accepted, "The session has been ended.");
        assert_eq!(response.user.unwrap().email, "ada@example.com", "{era:?}");
        assert_eq!(response.attributes["region"], "emea", "{era:?}");
        assert_eq!(response.warnings, [] as [&str; 0], "{era:?}");
        assert_eq!((pair.metabase.sessions_ever(), pair.metabase.live_sessions()), (1, 0), "{era:?}");
    }
}

#[tokio::test]
async fn what_metabase_refuses_is_told_with_its_reason_in_any_version() {
    for era in ERAS {
        let pair = Pair::start(era).await;
        let jwt = pair.token().await;
        let refused = |reason| (AuthStatus::Error, reason);
        for (name, change, expected) in [
            (
                "another secret",
                (|settings| settings.secret = OTHER_SECRET.to_owned()) as Change,
                refused(AuthStatusReason::SignatureMismatch),
            ),
            ("expired", |settings| settings.skew += 601, refused(AuthStatusReason::Expired)),
            ("too old", |settings| settings.skew += 181, refused(AuthStatusReason::TooOldToExchange)),
            (
                "nobody is made",
                |settings| settings.is_provisioning = false,
                refused(AuthStatusReason::AccountUnavailable),
            ),
            ("SSO is off", |settings| settings.is_sso_on = false, refused(AuthStatusReason::SsoNotEnabled)),
            ("no licence", |settings| settings.is_licensed = false, refused(AuthStatusReason::LicenseRequired)),
            ("open source", |settings| settings.is_enterprise = false, refused(AuthStatusReason::LicenseRequired)),
            (
                "starting",
                |settings| settings.fault = Fault::Starting,
                (AuthStatus::Loading, AuthStatusReason::MetabaseStarting),
            ),
        ] {
            pair.metabase.set(change);
            let response = pair.check(Credential::Jwt(jwt.clone())).await;
            assert_eq!((response.status(), response.reason()), expected, "{era:?}, {name}: {response:?}");
            assert!(response.message.starts_with("Metabase "), "{response:?}");
            pair.metabase.set(|settings| {
                settings.secret = SECRET.to_owned();
                settings.skew = NOW - now();
                settings.fault = Fault::None;
                (settings.is_provisioning, settings.is_sso_on, settings.is_licensed, settings.is_enterprise) =
                    (true, true, true, true);
            });
        }
        assert_eq!((pair.metabase.sessions_ever(), pair.metabase.users()), (0, 0), "{era:?}");
    }
}

#[tokio::test]
async fn the_switch_of_the_sdk_does_not_matter_and_no_session_is_left_behind_it() {
    for era in [Era::Hash, Era::Plain, Era::ToSession] {
        let pair = Pair::start(era).await;
        pair.metabase.set(|settings| settings.is_sdk_on = false);
        let response = pair.check_token().await;
        assert_says(&response, AuthStatus::Success, AuthStatusReason::Accepted, "signed the person in");
        assert_eq!((pair.metabase.sessions_ever(), pair.metabase.live_sessions()), (1, 0), "{era:?}");
    }
}

#[tokio::test]
async fn a_metabase_that_misbehaves_is_unreachable_in_time_and_nothing_of_its_answer_is_repeated() {
    let pair = Pair::start(Era::ToSession).await;
    let token = pair.token().await;
    for (fault, message) in [
        (Fault::Hang, "does not answer in time"),
        (Fault::Reset, "broke the connection"),
        (Fault::Answer(200, "<html>Welcome</html>"), "is not understood (HTTP 200)"),
        (Fault::Answer(200, "{\"session_token\": 7}"), "is not understood (HTTP 200)"),
        (Fault::Answer(500, "{\"cause\":\"hunter2\",\"trace\":[]}"), "is not understood (HTTP 500)"),
        (Fault::Answer(302, ""), "is not understood (HTTP 302)"),
        (Fault::Answer(404, "<html>hunter2</html>"), "is not understood (HTTP 404)"),
    ] {
        pair.metabase.set(|settings| settings.fault = fault.clone());
        for credential in [Credential::Jwt(token.clone()), Credential::SessionId("0".repeat(36))] {
            let response = pair.check(credential).await;
            assert_says(&response, AuthStatus::Error, AuthStatusReason::MetabaseUnreachable, message);
            assert!(!format!("{response:?}").contains("hunter2"), "{response:?}");
        }
    }
    let nobody =
        TestServer::with(&CONFIG.replace("name = \"main\"", "name = \"main\"\napi_url = \"http://127.0.0.1:1\"")).await;
    let response = nobody.client.clone().check_auth_status(live(Credential::SessionId("x".to_owned()))).await.unwrap();
    let message = "Metabase refuses the connection";
    assert_says(&response.into_inner(), AuthStatus::Error, AuthStatusReason::MetabaseUnreachable, message);
}

#[tokio::test]
async fn a_check_that_is_given_up_ends_its_session_all_the_same() {
    let pair = Pair::start(Era::Plain).await;
    // Ending the session fails at first, so that the check is certainly under way when its caller leaves.
    pair.metabase.set(|settings| settings.fault = Fault::DeleteFails(1));
    let (mut client, request) = (pair.service.client.clone(), live(Credential::Jwt(pair.token().await)));
    let check = tokio::spawn(async move { client.check_auth_status(request).await });
    until("a session", async || pair.metabase.sessions_ever() > 0).await;
    check.abort();
    assert!(check.await.unwrap_err().is_cancelled());
    until("the session is ended", async || pair.metabase.live_sessions() == 0).await;
}

#[tokio::test]
async fn a_session_is_ended_before_the_service_is() {
    // Before the session is tried to be ended again, which is after 1 s.
    let pair = Pair::of(Era::Plain, &with_limits("deadline = \"1s\"")).await;
    pair.metabase.set(|settings| settings.fault = Fault::DeleteFails(1));
    let request = live(Credential::Jwt(pair.token().await));
    let response = pair.service.client.clone().check_auth_status(request).await.unwrap().into_inner();
    assert_says(&response, AuthStatus::Error, AuthStatusReason::MetabaseUnreachable, "does not answer in time");
    assert_eq!(pair.metabase.live_sessions(), 1);
    pair.service.stop.drain.cancel();
    let Pair { service, metabase } = pair;
    service.ended().await.unwrap();
    assert_eq!((metabase.sessions_ever(), metabase.live_sessions()), (1, 0));
}

#[tokio::test]
async fn a_session_that_cannot_be_ended_is_no_clean_end_of_the_service() {
    let text = with_limits("deadline = \"1s\"")
        .replace("announce_delay = \"0s\"", "announce_delay = \"0s\", grace_period = \"1s\"");
    let pair = Pair::of(Era::Plain, &text).await;
    pair.metabase.set(|settings| settings.fault = Fault::DeleteHangs);
    let request = live(Credential::Jwt(pair.token().await));
    let response = pair.service.client.clone().check_auth_status(request).await.unwrap().into_inner();
    assert_says(&response, AuthStatus::Error, AuthStatusReason::MetabaseUnreachable, "does not answer in time");
    assert_eq!(pair.metabase.live_sessions(), 1);
    pair.service.stop.drain.cancel();
    let error = pair.service.ended().await.unwrap_err().to_string();
    assert_eq!(error, "1s were not enough to finish what was in flight");
}

#[tokio::test]
async fn sessions_are_alive_until_they_end() {
    let pair = Pair::start(Era::Plain).await;
    let id = pair.metabase.sign_in("eve@example.com");
    let response = pair.check(Credential::SessionId(id.clone())).await;
    assert_says(&response, AuthStatus::Success, AuthStatusReason::Accepted, "The session is alive.");
    assert_eq!(response.user.unwrap().email, "eve@example.com");
    assert_eq!(response.token_fingerprint.len(), 16);
    assert_eq!(pair.metabase.live_sessions(), 1);
    for unknown in ["00000000-0000-4000-8000-999999999999".to_owned(), String::new(), "\u{7f}\n".to_owned()] {
        let response = pair.check(Credential::SessionId(unknown.clone())).await;
        assert_eq!(response.status(), AuthStatus::Error, "{unknown:?}");
        assert!([AuthStatusReason::SessionInvalid, AuthStatusReason::MetabaseUnreachable].contains(&response.reason()));
    }
}

#[tokio::test]
async fn api_keys_are_for_development_and_a_production_instance_is_not_even_asked() {
    let production = Pair::start(Era::Plain).await;
    let key = || Credential::ApiKey("mb_standin".to_owned());
    let response = production.check(key()).await;
    assert_says(&response, AuthStatus::Error, AuthStatusReason::ApiKeyNotAllowed, "for development instances");
    assert_eq!(production.metabase.asked(), [] as [&str; 0]);

    let development = Pair::with(Era::Plain, "environment = \"development\"").await;
    let response = development.check(key()).await;
    assert_says(&response, AuthStatus::Success, AuthStatusReason::Accepted, "The API key is good");
    let response = development.check(Credential::ApiKey("mb_other".to_owned())).await;
    assert_says(&response, AuthStatus::Error, AuthStatusReason::ApiKeyInvalid, "does not know the API key");
}

#[tokio::test]
async fn what_differs_from_the_token_is_a_warning() {
    let pair = Pair::start(Era::ToSession).await;
    pair.metabase.set(|settings| {
        settings.by_hand = Some(("region".to_owned(), "hunter2".to_owned()));
        settings.skew += 30;
    });
    let response = pair.check_token().await;
    assert_says(&response, AuthStatus::Success, AuthStatusReason::Accepted, "");
    let warnings = response.warnings.join("\n");
    assert!(warnings.contains("The attribute \"region\" has another value in Metabase"), "{warnings}");
    // Metabase's clock goes on while the service's stands still.
    let skew = warnings.split_once("Metabase's clock is ").and_then(|(_, rest)| rest.split_once(" s ahead of this"));
    assert!(skew.is_some_and(|(seconds, _)| seconds.parse::<u32>().unwrap() >= 30), "{warnings}");
    assert!(!warnings.contains("hunter2"), "{warnings}");
}

#[tokio::test]
async fn a_hung_metabase_holds_up_no_token() {
    let pair = Pair::start(Era::ToSession).await;
    let token = pair.token().await;
    pair.metabase.set(|settings| settings.fault = Fault::Hang);
    let checks: Vec<_> = (0..40)
        .map(|_| {
            let (mut client, request) = (pair.service.client.clone(), live(Credential::Jwt(token.clone())));
            tokio::spawn(async move { client.check_auth_status(request).await.unwrap().into_inner() })
        })
        .collect();
    until("as many questions as there is room for", async || pair.metabase.requests() >= 32).await;
    for _ in 0..100 {
        pair.token().await;
    }
    let mut not_begun = 0;
    for check in checks {
        let response = check.await.unwrap();
        assert_eq!(response.reason(), AuthStatusReason::MetabaseUnreachable);
        not_begun += usize::from(response.message.contains("this one was not begun"));
    }
    assert_eq!(not_begun, 8);
}

#[tokio::test]
async fn without_a_url_a_live_check_says_what_to_configure() {
    let url = "url = \"https://bi.example.com/metabase\"\n";
    let mut server = TestServer::with(&CONFIG.replace(url, "")).await;
    for credential in [Credential::Jwt("x".to_owned()), Credential::SessionId("x".to_owned())] {
        let status = server.client.check_auth_status(live(credential)).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert!(status.message().contains("the `url` of the instance is not configured"), "{}", status.message());
    }
}
