//! Starts a server and prints the milliseconds from just before its start to its first answer SERVING of grpc.health.v1; then
//! kills it.
//!
//! `until_serving ADDRESS CPU [--tls CA CERTIFICATE KEY] -- COMMAND...`: the command runs on that CPU alone.

use std::{
    env,
    error::Error,
    fs, io,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tokio::time::sleep;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

/// Between two tries: what the figure is exact to.
const PAUSE: Duration = Duration::from_micros(200);
const PATIENCE: Duration = Duration::from_secs(60);

struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn is_serving(endpoint: &Endpoint) -> bool {
    let Ok(channel) = endpoint.connect().await else { return false };
    let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await;
    answer.is_ok_and(|answer| answer.into_inner().status() == ServingStatus::Serving)
}

fn start(cpu: &str, command: &[String]) -> io::Result<Started> {
    let mut taskset = Command::new("taskset");
    taskset.args(["-c", cpu]).args(command).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    taskset.spawn().map(Started)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let at = arguments.iter().position(|argument| argument == "--").ok_or("-- COMMAND is missing")?;
    let (own, command) = (&arguments[..at], &arguments[at + 1..]);
    let (address, cpu, tls) = match own {
        [address, cpu] => (address, cpu, None),
        [address, cpu, option, ca, certificate, key] if option == "--tls" => {
            let identity = Identity::from_pem(fs::read(certificate)?, fs::read(key)?);
            let ca = Certificate::from_pem(fs::read(ca)?);
            (address, cpu, Some(ClientTlsConfig::new().ca_certificate(ca).identity(identity).domain_name("localhost")))
        }
        _ => return Err("usage: until_serving ADDRESS CPU [--tls CA CERTIFICATE KEY] -- COMMAND...".into()),
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))?;
    if let Some(tls) = tls {
        endpoint = endpoint.tls_config(tls)?;
    }
    if is_serving(&endpoint).await {
        return Err(format!("another server answers on {address}").into());
    }
    let began = Instant::now();
    let mut started = start(cpu, command)?;
    while !is_serving(&endpoint).await {
        if let Some(status) = started.0.try_wait()? {
            return Err(format!("the server ended before it served: {status}").into());
        }
        if began.elapsed() > PATIENCE {
            return Err(format!("not serving after {PATIENCE:?}").into());
        }
        sleep(PAUSE).await;
    }
    println!("{:.2}", began.elapsed().as_secs_f64() * 1000.0);
    Ok(())
}
