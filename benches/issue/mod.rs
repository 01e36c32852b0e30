//! The request that is issued for, and a configuration that allows it: those of bench/measure.

use std::fs;

use metabase_token_service::domain::{
    caller::{Caller, CallerId, Proof},
    token_request::{UnverifiedRequest, UnverifiedUser},
};
use tempfile::TempDir;

const SECRET: &str = "4f1c9a7e03b85d26f7a1c3e9b0d48e6275ac13f0e9b7d6482c5e8f01a3b4d697";
const OTHER_SECRET: &str = "d697a3b48f01c5e8482cb7d6f0e9ac136275d48ec3e9b0f7a15d26b8037e9a4f";

const CONFIG: &str = r#"
[server]
listen = "127.0.0.1:0"
metrics_listen = "127.0.0.1:0"
OWN
"#;
const POLICY: &str = include_str!("policy.toml");

/// A configuration with its secrets, which go with it.
pub(crate) struct Files {
    pub(crate) text: String,
    _dir: TempDir,
}

/// With these lines of `[server]`, and tables after it, of its own.
pub(crate) fn files(own: &str) -> Files {
    let dir = TempDir::new().expect("a folder can be made");
    for (name, secret) in [("secret", SECRET), ("subjects", OTHER_SECRET)] {
        fs::write(dir.path().join(name), secret).expect("it can be written");
    }
    let text = CONFIG.replace("OWN", own) + &POLICY.replace("MODE", "report");
    let text = text.replace("DIR", &dir.path().display().to_string());
    Files { text, _dir: dir }
}

pub(crate) fn unverified() -> UnverifiedRequest {
    let user = UnverifiedUser {
        id: "1815".to_owned(),
        email: "ada@example.com".to_owned(),
        first_name: "Ada".to_owned(),
        last_name: "Lovelace".to_owned(),
    };
    UnverifiedRequest {
        user: Some(user),
        groups: Some(vec!["Customers".to_owned(), "Region EMEA".to_owned()]),
        attributes: [("customer_id", "42"), ("region", "emea")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        ..UnverifiedRequest::default()
    }
}

pub(crate) fn caller() -> Caller {
    Caller::new(CallerId::Named("shop".parse().expect("a name")), Proof::Local)
}
