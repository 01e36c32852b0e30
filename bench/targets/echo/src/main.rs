//! Answers `IssueMetabaseToken` with one fixed message of the size of a real answer: what tonic itself costs, and so the limit of
//! what any service on it can reach.
//!
//! `echo ADDRESS TOKEN_CHARS [CERTIFICATE KEY CLIENT_CA]`: plaintext, or mutual TLS with these PEM files.

use std::{env, error::Error, fs};

use prost_types::Timestamp;
use tokio::net::TcpSocket;
use tonic::{
    Request, Response, Status,
    transport::{Certificate, Identity, Server, ServerTlsConfig, server::TcpIncoming},
};

use self::proto::{
    CheckAuthStatusRequest, CheckAuthStatusResponse, IssueMetabaseTokenRequest, IssueMetabaseTokenResponse,
    metabase_token_service_server::{MetabaseTokenService, MetabaseTokenServiceServer},
};

mod proto {
    tonic::include_proto!("metabase.token.v1");
}

struct Echo {
    answer: IssueMetabaseTokenResponse,
}

#[tonic::async_trait]
impl MetabaseTokenService for Echo {
    async fn issue_metabase_token(
        &self,
        _: Request<IssueMetabaseTokenRequest>,
    ) -> Result<Response<IssueMetabaseTokenResponse>, Status> {
        Ok(Response::new(self.answer.clone()))
    }

    async fn check_auth_status(
        &self,
        _: Request<CheckAuthStatusRequest>,
    ) -> Result<Response<CheckAuthStatusResponse>, Status> {
        Err(Status::unimplemented("the echo judges nothing"))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (address, token_chars, tls) = match arguments.as_slice() {
        [address, token_chars] => (address, token_chars, None),
        [address, token_chars, certificate, key, client_ca] => {
            let identity = Identity::from_pem(fs::read(certificate)?, fs::read(key)?);
            let ca = Certificate::from_pem(fs::read(client_ca)?);
            (address, token_chars, Some(ServerTlsConfig::new().identity(identity).client_ca_root(ca)))
        }
        _ => return Err("usage: echo ADDRESS TOKEN_CHARS [CERTIFICATE KEY CLIENT_CA]".into()),
    };
    let time = Some(Timestamp { seconds: 1_800_000_000, nanos: 0 });
    let answer = IssueMetabaseTokenResponse {
        jwt: "x".repeat(token_chars.parse()?),
        issue_time: time,
        expire_time: time,
        exchange_deadline: time,
        token_fingerprint: "0123456789abcdef".to_owned(),
        sso_url: String::new(),
    };
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<MetabaseTokenServiceServer<Echo>>().await;
    let mut server = Server::builder();
    if let Some(tls) = tls {
        server = server.tls_config(tls)?;
    }
    let service = MetabaseTokenServiceServer::new(Echo { answer });
    // What `serve` does, with room for as many clients at once as the service has: with less, they would come one after another.
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address.parse()?)?;
    let incoming = TcpIncoming::from(socket.listen(4096)?).with_nodelay(Some(true));
    server.add_service(health).add_service(service).serve_with_incoming(incoming).await?;
    Ok(())
}
