//! `serve`

use std::{fmt::Write as _, process::ExitCode, sync::Arc};

use signal_hook::consts::SIGHUP;

use super::{EX_CONFIG, NO_FILE, Serve, block_on, fail, open_files, print, print_aside};
use crate::{
    adapters::{
        clock::SystemClock,
        environment,
        load_generation::{self, Loaded, LoadedFile},
    },
    app::{self, Addresses, App, StartError, WatchedFile},
    application::Clock as _,
    config::{AuditConfig, AuditSink, Config, ListenAddress, SecretSource, parse_listen},
    domain::instance::InstanceUrl,
    hardening::{self, Confinement, Plan, Report},
    lifecycle::Stop,
    telemetry::{self, LogFormat},
};

const SECRET_VARIABLE: &str = "METABASE_JWT_SHARED_SECRET";

/// Hardens the process while it has one thread, before the log writer and the runtime.
pub(super) fn run(serve: &Serve) -> ExitCode {
    if !serve.dev && serve.config.is_none() {
        let dev = "--dev tries it without a configuration, on this machine only";
        return fail(2, format_args!("serve takes a configuration: {NO_FILE}; {dev}"));
    }
    // Until the reloader follows it: a reload that comes while the service starts would end it. A terminal that goes away ends `--dev`.
    if !serve.dev
        && let Err(error) = signal_hook::flag::register(SIGHUP, Arc::default())
    {
        return fail(1, format_args!("SIGHUP cannot be followed: {error}"));
    }
    let begun = hardening::begin();
    let (mut config, loaded, mut file) = match load(serve) {
        Ok(loaded) => loaded,
        Err(errors) => return fail(EX_CONFIG, errors),
    };
    if let Some(listen) = &serve.listen {
        match parse_listen(listen, config.server.tls.is_some()) {
            Ok(listen) => config.server.listen = listen,
            Err(rule) => return fail(2, format_args!("--listen {rule}")),
        }
    }
    if let Some(metrics_listen) = serve.metrics_listen {
        if serve.dev && !metrics_listen.ip().is_loopback() {
            return fail(2, "--metrics-listen must be a loopback address with --dev");
        }
        config.server.metrics_listen = metrics_listen;
    }
    let (room, max_connections) = (open_files::room_for_connections(), config.server.limits.max_connections);
    config.server.limits.max_connections = max_connections.min(room);
    let watched = file.as_ref().map(|watched| watched.file.as_path());
    let report = begun.finish(&Plan::new(&config, watched, environment::read));
    if config.server.require_hardening
        && let Some(error) = refused(&report)
    {
        return fail(EX_CONFIG, error);
    }
    if let Some(watched) = &mut file {
        watched.confinement = report.confinement.clone();
    }
    let _logs = telemetry::init_logs(serve.log_level, serve.log_format);
    report.log(serve.dev);
    if room < max_connections {
        tracing::warn!("{}", open_files::too_few(room, max_connections));
    }
    block_on(start(serve, config, loaded, file))
}

/// One line for each measure that does not hold; none = all do.
fn refused(report: &Report) -> Option<String> {
    let line = |measure| format!("server.require_hardening: {measure}; or set it to false");
    let lines: Vec<String> = report.degraded().map(line).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

async fn start(serve: &Serve, config: Config, loaded: Loaded, file: Option<WatchedFile>) -> ExitCode {
    for warning in loaded.warnings.iter().chain(&app::warnings(&config, SystemClock.now())) {
        tracing::warn!("{warning}");
    }
    if config.audit.is_none() && !serve.dev {
        tracing::warn!("No audit log is kept: configure [audit] to have every decision recorded");
    }
    // Before anything is announced, so that no signal is missed.
    let stop = match Stop::on_signals() {
        Ok(stop) => stop,
        Err(error) => return fail(1, error),
    };
    let secret = config.instances.first().map(|one| one.shared_secret.clone());
    let dev_secret = secret.filter(|_| serve.dev);
    // Its lines are for a program, which a banner among them would break; so are those of a log of JSON.
    let is_audited_there = matches!(&config.audit, Some(AuditConfig { sink: AuditSink::Stdout, .. }));
    let name =
        serve.config.as_ref().filter(|_| !serve.dev).map(|file| format!("{}: ", file.display())).unwrap_or_default();
    let app = match App::bind(config, file, loaded.generation, Arc::new(SystemClock)).await {
        Ok(app) => app,
        Err(error @ StartError::Listen { .. }) => return fail(1, error),
        Err(error) => {
            return fail(if error.is_lasting() { EX_CONFIG } else { 1 }, format_args!("{name}{error}"));
        }
    };
    match app.addresses() {
        Ok(addresses) => {
            let text = announcement(&addresses, dev_secret.as_ref());
            tracing::info!(grpc = %addresses.grpc, tls = addresses.has_tls, metrics = %addresses.metrics, "Serving");
            // Whoever closed the stream does not want to know.
            match (is_audited_there, serve.log_format) {
                (false, _) => _ = print(text),
                (true, LogFormat::Text) => _ = print_aside(text),
                (true, LogFormat::Json) => {}
            }
        }
        Err(error) => return fail(1, error),
    }
    match Box::pin(app.run(stop)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, error),
    }
}

fn load(serve: &Serve) -> Result<(Config, Loaded, Option<WatchedFile>), String> {
    let Some(file) = serve.config.as_ref().filter(|_| !serve.dev) else {
        return dev().map(|(config, loaded)| (config, loaded, None));
    };
    let LoadedFile { config, loaded, stamps } = load_generation::load_file(file).map_err(|error| error.to_string())?;
    let watched =
        WatchedFile { file: file.clone(), stamps, server: config.server.clone(), confinement: Confinement::default() };
    Ok((config, loaded, Some(watched)))
}

fn dev() -> Result<(Config, Loaded), String> {
    const URL_VARIABLE: &str = "METABASE_URL";
    let url: InstanceUrl = match environment::read(URL_VARIABLE) {
        Some(url) => url.to_string_lossy().parse(),
        None => "http://localhost:3000".parse(),
    }
    .map_err(|error| format!("{URL_VARIABLE}: {error}"))?;
    let secret = match environment::read(SECRET_VARIABLE) {
        Some(_) => SecretSource::Env(SECRET_VARIABLE.to_owned()),
        None => SecretSource::Generated,
    };
    let config = Config::dev(url, secret);
    let loaded = load_generation::load(&config, "--dev").map_err(|error| error.to_string())?;
    Ok((config, loaded))
}

/// Tells where the server is; the last line is `ready`.
fn announcement(addresses: &Addresses, dev_secret: Option<&SecretSource>) -> String {
    let security = if addresses.has_tls { "TLS" } else { "plaintext" };
    let mut text =
        format!("gRPC on {} ({security})\nmetrics on http://{}/metrics\n", addresses.grpc, addresses.metrics);
    // Writing to a String does not fail.
    if let Some(probe) = addresses.probe {
        let _ = writeln!(text, "health on {probe} (plaintext)");
    }
    if let Some(secret) = dev_secret {
        let (option, address) = match &addresses.grpc {
            ListenAddress::Tcp(address) => ("-plaintext", address.to_string()),
            ListenAddress::Unix(path) => ("-plaintext -unix", path.display().to_string()),
        };
        let secret = match secret {
            SecretSource::Generated => format!(
                "signing with a secret made for this run; to sign in to a real Metabase, put its JWT secret into {SECRET_VARIABLE}"
            ),
            SecretSource::Credential(_) | SecretSource::Env(_) | SecretSource::File(_) => {
                format!("signing with the secret in {SECRET_VARIABLE}")
            }
        };
        let _ = write!(
            text,
            "{secret}\nissue a token with:\n  grpcurl {option} -d '{{\"user\":{{\"id\":\"1815\",\"email\":\"ada@example.com\",\
             \"first_name\":\"Ada\",\"last_name\":\"Lovelace\"}}}}' {address} \
             metabase.token.v1.MetabaseTokenService/IssueMetabaseToken\n"
        );
    }
    text + "ready\n"
}
