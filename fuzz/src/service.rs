//! The service as the targets see it: a configuration with three instances, one of each tenancy, and one caller who may do nearly
//! everything.

use std::sync::{Arc, LazyLock};

use metabase_token_service::{
    application::{agreement::Keys, signing_key::SigningKey},
    config::Config,
    domain::{
        caller::{Caller, CallerId, Proof},
        instance::Instance,
        policy::Policy,
        secret::SharedSecret,
        time::UnixTime,
    },
};

use crate::buddy::Settings;

pub const SECRET: &str = "4f1c9a7e03b85d26f7a1c3e9b0d48e6275ac13f0e9b7d6482c5e8f01a3b4d697";
pub const NOW: i64 = 1_700_000_000;

const CONFIG: &str = r#"
    [server.identity]
    local = "shop"

    [[instances]]
    name = "plain"
    default = true
    url = "https://bi.example.com/metabase"
    shared_secret = { file = "plain" }

    [[instances]]
    name = "mixed"
    url = "http://localhost:3000"
    tenancy = "optional"
    shared_secret = { file = "mixed" }

    [[instances]]
    name = "tenants"
    tenancy = "required"
    shared_secret = { file = "tenants" }
    claims = { email = "mail", first_name = "given", last_name = "family", groups = "roles", tenant = "@org", tenant_attributes = "org" }

    [[callers]]
    name = "shop"
    [[callers.grants]]
    instance = "plain"
    email_domains = ["*"]
    groups = ["*"]
    attributes = { "*" = "string" }
    [[callers.grants]]
    instance = "mixed"
    email_domains = ["*"]
    groups = ["*"]
    attributes = { "*" = "string" }
    tenants = ["*"]
    tenant_attributes = { "*" = "string" }
    [[callers.grants]]
    instance = "tenants"
    email_domains = ["*"]
    groups = ["*"]
    attributes = { "*" = "string" }
    tenants = ["*"]
    tenant_attributes = { "*" = "string" }
"#;

const PLAIN: Settings = Settings {
    email: "email",
    first_name: "first_name",
    last_name: "last_name",
    groups: "groups",
    tenant: "@tenant",
    tenant_attributes: "@tenant.attributes",
    use_tenants: false,
};

/// What an administrator has set in the Metabase of each instance.
pub const SETTINGS: [Settings; 3] = [
    PLAIN,
    Settings { use_tenants: true, ..PLAIN },
    Settings {
        email: "mail",
        first_name: "given",
        last_name: "family",
        groups: "roles",
        tenant: "@org",
        tenant_attributes: "org",
        use_tenants: true,
    },
];

pub struct Service {
    pub instances: Vec<Arc<Instance>>,
    pub keys: Keys,
    pub key: SigningKey,
    pub policy: Policy,
    pub caller: Caller,
}

pub static SERVICE: LazyLock<Service> = LazyLock::new(|| {
    let config = Config::parse(CONFIG, "fuzz.toml").expect("the configuration is valid");
    let secret = SharedSecret::parse(SECRET.into()).expect("the secret is valid");
    let policy = config.policy();
    Service {
        instances: config.instances.into_iter().map(|one| Arc::new(one.instance)).collect(),
        keys: Keys::new(SigningKey::new(&secret), None),
        key: SigningKey::new(&secret),
        policy,
        caller: Caller::new(CallerId::Named("shop".parse().expect("a name")), Proof::Local),
    }
});

pub const fn now() -> UnixTime {
    UnixTime::from_seconds(NOW)
}
