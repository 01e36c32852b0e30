//! The command line. Every command returns the exit code of the process.

mod audit;
mod client;
mod config;
mod doctor;
mod health;
mod issue;
mod keygen;
mod open_files;
mod pem;
mod policy;
mod serve;
mod status;

use std::{
    ffi::OsString,
    fmt::Display,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, parser::ValueSource};
use tokio::runtime::Runtime;

/// Exit code of a configuration that cannot be used: `EX_CONFIG` of sysexits.h, which service managers know not to retry.
const EX_CONFIG: u8 = 78;

const DEV_HELP: &str = "Run without a configuration file, on loopback only and in plaintext: the instance \"default\" at \
                        METABASE_URL (or http://localhost:3000), signed with METABASE_JWT_SHARED_SECRET (or a generated \
                        secret), everything allowed, reflection on";

const NO_FILE: &str = "--config FILE, or the path in METABASE_TOKEN_SERVICE_CONFIG";

/// Issues sign-in tokens for Metabase over gRPC, and holds the secret they are signed with.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one in a process")]
enum Command {
    /// Run the service.
    Serve(Serve),
    /// Ask a running service for a token and print it.
    Issue(Issue),
    /// Ask a running service whether Metabase would accept a token; the token is read from a file or standard input.
    ///
    /// Exit code: 0 = SUCCESS, 3 = any other status, 1 = the service could not answer.
    Status(Status),
    /// Ask a running service for its health; exit code 0 = SERVING.
    Health(Health),
    /// Work with audit logs.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Work with configuration files.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Ask what the policy of a configuration would decide.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Examine every configured Metabase instance, without any effect on it, and tell what keeps people from signing in.
    ///
    /// Exit code: 0 = nothing failed, 3 = a check failed, 78 = the configuration cannot be used.
    Doctor(Doctor),
    /// Print a fresh secret: 64 hexadecimal digits, into a file or a pipe without a line break.
    Keygen,
}

#[derive(Args, Debug)]
struct Serve {
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE", env = "METABASE_TOKEN_SERVICE_CONFIG")]
    config: Option<PathBuf>,
    /// Run without a configuration file, on loopback only and in plaintext.
    #[arg(long, long_help = DEV_HELP)]
    dev: bool,
    /// gRPC address instead of the configured one: `IP:PORT` (port 0 = any free one) or `unix:/PATH`.
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Metrics address instead of the configured one: IP:PORT (port 0 = any free one).
    #[arg(long, value_name = "ADDR")]
    metrics_listen: Option<std::net::SocketAddr>,
    /// Least severe log lines to write: error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: tracing::level_filters::LevelFilter,
    /// How log lines look.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    log_format: crate::telemetry::LogFormat,
}

/// Where the service is.
#[derive(Args, Debug)]
struct Server {
    /// Address of the service: `HOST:PORT`, `http://HOST:PORT`, `https://HOST:PORT` (TLS, with --tls-ca) or `unix:/PATH`.
    #[arg(long, value_name = "ADDR", env = "METABASE_TOKEN_SERVICE_ADDRESS", default_value = "127.0.0.1:50051")]
    address: String,
    /// Speak TLS, also without https:// in the address, and trust this CA (PEM).
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Client certificate (PEM).
    #[arg(long, value_name = "FILE", requires_all = ["tls_ca", "tls_key"])]
    tls_certificate: Option<PathBuf>,
    /// Private key of the client certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Name in the server's certificate, if it is not the host of the address.
    #[arg(long, value_name = "NAME", requires = "tls_ca")]
    tls_server_name: Option<String>,
    /// Give up after this time.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    timeout: std::time::Duration,
}

#[derive(Args, Debug)]
struct Issue {
    #[command(flatten)]
    server: Server,
    /// Metabase instance; may be left out when there is one, or a default.
    #[arg(long, default_value = "", hide_default_value = true)]
    instance: String,
    /// The backend's own identifier of the person.
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    user_id: String,
    /// E-mail address of the person.
    #[arg(long)]
    email: String,
    /// First name of the person.
    #[arg(long)]
    first_name: String,
    /// Last name of the person.
    #[arg(long)]
    last_name: String,
    /// Metabase group of the person; may be repeated. Without any, memberships are left alone.
    #[arg(long = "group", value_name = "NAME")]
    groups: Vec<String>,
    /// Remove the person from all groups that Metabase manages by JWT.
    #[arg(long, conflicts_with = "groups")]
    no_groups: bool,
    /// User attribute; may be repeated.
    #[arg(long = "attribute", value_name = "KEY=VALUE", value_parser = issue::key_value)]
    attributes: Vec<(String, String)>,
    /// Metabase tenant of the person.
    #[arg(long, value_name = "SLUG")]
    tenant: Option<String>,
    /// Attribute of the tenant; may be repeated.
    #[arg(long = "tenant-attribute", value_name = "KEY=VALUE", value_parser = issue::key_value, requires = "tenant")]
    tenant_attributes: Vec<(String, String)>,
    /// How long the token lives, such as 10m.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    lifetime: Option<std::time::Duration>,
    /// Also print the URL that signs the person in and sends them to this path.
    #[arg(long, value_name = "PATH")]
    return_to: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct Status {
    #[command(flatten)]
    server: Server,
    /// Metabase instance; may be left out when there is one, or a default.
    #[arg(long, default_value = "", hide_default_value = true)]
    instance: String,
    /// File that holds the token; - is standard input. White space around it is ignored.
    #[arg(long, value_name = "FILE", default_value = "-")]
    jwt_file: PathBuf,
    /// Ask Metabase itself, which signs the person in; the session is ended at once.
    #[arg(long)]
    live: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct Health {
    #[command(flatten)]
    server: Server,
    /// What to ask for: readiness, liveness, or the name of a gRPC service; empty = the server as a whole.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    service: String,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Check the hash chain of an audit log. Exit code: 0 = whole, 3 = changed, 1 = it cannot be read.
    Verify {
        /// The log; - is standard input.
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Parse and validate a configuration and its secrets, and print it with every default. Exit code: 0 = valid, 78 = not,
    /// 1 = valid, but what receives the audit log is away.
    Check {
        /// Configuration file (TOML); - is standard input.
        file: Option<PathBuf>,
        /// The same.
        #[arg(long, value_name = "FILE", env = "METABASE_TOKEN_SERVICE_CONFIG")]
        config: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Tell the decision on a request, and the grant and rule behind it, without a server.
    ///
    /// Exit code: 0 = allowed, 3 = denied, 4 = the request is invalid, 78 = the configuration is.
    Explain(Explain),
}

#[derive(Args, Debug)]
struct Explain {
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE", env = "METABASE_TOKEN_SERVICE_CONFIG")]
    config: PathBuf,
    /// Name of a caller, or an identity: a SPIFFE ID, a service account or a DNS name.
    #[arg(long, value_name = "ID")]
    caller: String,
    /// `IssueMetabaseTokenRequest` as JSON, @FILE, or - for standard input.
    #[arg(long, value_name = "JSON")]
    request: String,
}

#[derive(Args, Debug)]
struct Doctor {
    /// Configuration file (TOML); - is standard input.
    #[arg(long, value_name = "FILE", env = "METABASE_TOKEN_SERVICE_CONFIG")]
    config: PathBuf,
    /// Examine this instance only; may be repeated.
    #[arg(long, value_name = "NAME")]
    instance: Vec<String>,
    /// Also sign this account in, which makes it where Metabase makes accounts, and end its session.
    #[arg(long, value_name = "EMAIL")]
    canary: Option<String>,
    /// Metabase tenant of the canary.
    #[arg(long, value_name = "SLUG", requires = "canary")]
    canary_tenant: Option<String>,
    /// Wait this long for each answer of Metabase.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    timeout: std::time::Duration,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command line `arguments`, the first of which is the program's name.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let matches = match Cli::command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => return usage(&error),
    };
    let Cli { command } = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match command {
        Command::Serve(serve) if serve.dev && is_typed(&matches, "config") => {
            fail(2, "--dev takes no --config: choose one")
        }
        Command::Serve(serve) => serve::run(&serve),
        Command::Issue(issue) => block_on(issue::run(issue)),
        Command::Status(status) => block_on(status::run(status)),
        Command::Health(health) => block_on(health::run(health)),
        Command::Audit(AuditCommand::Verify { file }) => audit::verify(&file),
        Command::Config(ConfigCommand::Check { file: Some(_), config: _ }) if is_typed(&matches, "config") => {
            fail(2, "config check takes FILE or --config FILE: choose one")
        }
        Command::Config(ConfigCommand::Check { file, config }) => config::check(file.or(config).as_deref()),
        Command::Policy(PolicyCommand::Explain(explain)) => policy::explain(&explain),
        Command::Doctor(doctor) => block_on(doctor::run(doctor)),
        Command::Keygen => keygen::run(),
    }
}

fn block_on(command: impl Future<Output = ExitCode>) -> ExitCode {
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, format_args!("no runtime: {error}")),
    };
    let code = runtime.block_on(command);
    // What still hangs, such as a look at files on a dead file system, does not hold up the end.
    runtime.shutdown_background();
    code
}

/// Whether an option of the innermost subcommand was typed, not taken from the environment.
fn is_typed(matches: &ArgMatches, id: &str) -> bool {
    match matches.subcommand() {
        Some((_, matches)) if matches.subcommand_name().is_some() => is_typed(matches, id),
        Some((_, matches)) => matches.value_source(id) == Some(ValueSource::CommandLine),
        None => false,
    }
}

/// Help and version are no failures.
fn usage(error: &clap::Error) -> ExitCode {
    // Nothing is left to tell if the terminal is gone.
    let _ = error.print();
    u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// One line on standard error for each line of the error.
fn fail(code: u8, error: impl Display) -> ExitCode {
    for line in error.to_string().lines() {
        let _ = writeln!(io::stderr(), "error: {line}");
    }
    ExitCode::from(code)
}

fn prefix_lines(prefix: &str, lines: &[String]) -> String {
    lines.iter().flat_map(|line| [prefix, line, "\n"]).collect()
}

/// Standard error, for what is beside the result.
fn print_aside(text: impl Display) -> io::Result<()> {
    write!(io::stderr(), "{text}")
}

/// Standard output; a reader that went away ends the command quietly.
fn print(text: impl Display) -> ExitCode {
    match write!(io::stdout(), "{text}").and_then(|()| io::stdout().flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
