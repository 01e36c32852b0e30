//! `health`

use std::process::ExitCode;

use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use super::{Health, client, fail, print};

pub(super) async fn run(health: Health) -> ExitCode {
    let connection = match client::connect_for_health(&health.server).await {
        Ok(connection) => connection,
        Err(error) => return fail(1, error),
    };
    let name = health.service.clone();
    let request = HealthCheckRequest { service: health.service };
    let mut client = HealthClient::new(connection.client.channel());
    let check = async { Ok(client.check(request).await?.into_inner()) };
    match connection.answer(check).await {
        Ok(response) if response.status() == ServingStatus::Serving => print("SERVING\n"),
        Ok(response) => fail(1, response.status().as_str_name()),
        Err(error) if error.starts_with("NotFound") => {
            let known = "readiness, liveness, metabase/INSTANCE once that one was looked at, \
                         or metabase.token.v1.MetabaseTokenService";
            fail(1, format_args!("--service {name:?}: the server knows no such name; it knows {known} (NotFound)"))
        }
        Err(error) => fail(1, error),
    }
}
