//! This backend alone, with a token service that is made up. `../conformance` tests it before the real one.

use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode, header},
    response::Response,
};
use serde_json::json;
use tokio::net::TcpListener;
use tonic::{Response as Answer, Status, transport::server::TcpIncoming};
use tower::ServiceExt as _;

use super::*;
use crate::backend::app;
use metabase_token_service::proto::{
    self,
    metabase_token_service_server::{MetabaseTokenService, MetabaseTokenServiceServer},
};

struct Stub;

#[tonic::async_trait]
impl MetabaseTokenService for Stub {
    async fn issue_metabase_token(
        &self,
        request: tonic::Request<proto::IssueMetabaseTokenRequest>,
    ) -> Result<Answer<proto::IssueMetabaseTokenResponse>, Status> {
        let request = request.into_inner();
        let email = request.user.unwrap().email;
        if email.ends_with("@partner.example") {
            return Err(Status::permission_denied("for operators"));
        }
        let (jwt, sso_url) = (format!("for {email}"), format!("http://bi{}", request.return_to.unwrap_or_default()));
        let now = Some(std::time::SystemTime::now().into());
        let (issue_time, expire_time, exchange_deadline) = (now, now, now);
        let token_fingerprint = String::new();
        Ok(Answer::new(proto::IssueMetabaseTokenResponse {
            jwt,
            issue_time,
            expire_time,
            exchange_deadline,
            token_fingerprint,
            sso_url,
        }))
    }

    async fn check_auth_status(
        &self,
        _: tonic::Request<proto::CheckAuthStatusRequest>,
    ) -> Result<Answer<proto::CheckAuthStatusResponse>, Status> {
        Err(Status::unimplemented("not tested here"))
    }
}

/// Signs a person in and fetches a path.
async fn browse(user: &str, path: &str) -> Response {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let stub = MetabaseTokenServiceServer::new(Stub);
    tokio::spawn(
        tonic::transport::Server::builder().add_service(stub).serve_with_incoming(TcpIncoming::from(listener)),
    );
    let settings = Settings { metabase_token_service_address: address, ..Settings::from_env().unwrap() };
    let people = serde_json::from_str(&std::fs::read_to_string("../people.json").unwrap()).unwrap();
    let app = app(&settings, people, settings.connect().unwrap()).unwrap();
    let login = Request::post("/login").header(header::CONTENT_TYPE, "application/json");
    let login = login.body(Body::from(json!({ "user": user }).to_string())).unwrap();
    let signed_in = app.clone().oneshot(login).await.unwrap();
    let cookie = signed_in.headers().get(header::SET_COOKIE).map_or("", |cookie| cookie.to_str().unwrap());
    let request = Request::get(path).header(header::COOKIE, cookie.split(';').next().unwrap());
    app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

#[tokio::test]
async fn the_sdk_gets_a_token_for_who_is_signed_in() {
    assert_eq!(browse("nobody", "/sso/metabase?response=json").await.status(), StatusCode::UNAUTHORIZED);
    let body = to_bytes(browse("ada", "/sso/metabase?response=json").await.into_body(), 4096).await.unwrap();
    assert_eq!(body, r#"{"jwt":"for ada@example.com"}"#);
    let answer = browse("ada", "/sso/metabase?return_to=/a?b&c").await;
    assert_eq!(answer.headers()[header::LOCATION], "http://bi/a?b&c");
}

#[tokio::test]
async fn a_refusal_is_403() {
    assert_eq!(browse("alan", "/sso/metabase?response=json").await.status(), StatusCode::FORBIDDEN);
}
