//! `health`

use std::process::ExitCode;

use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use super::{Health, client, fail, print};

pub(super) async fn run(health: Health) -> ExitCode {
    let channel = match client::connect(&health.server).await {
        Ok(channel) => channel,
        Err(error) => return fail(1, error),
    };
    let request = HealthCheckRequest { service: health.service };
    match HealthClient::new(channel).check(request).await.map(tonic::Response::into_inner) {
        Ok(response) if response.status() == ServingStatus::Serving => print("SERVING\n"),
        Ok(response) => fail(1, response.status().as_str_name()),
        Err(status) => fail(1, client::describe(&status)),
    }
}
