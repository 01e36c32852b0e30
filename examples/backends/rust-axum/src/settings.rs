//! What the environment says; `../README.md` lists every variable.

use std::env;

use anyhow::{Result, ensure};
use url::Url;

/// Read once at start; a mistake ends the program with the name of the variable.
#[derive(Debug)]
pub struct Settings {
    pub listen: String,
    /// Whose pages may read answers: the app's, and this backend's own.
    pub origins: Vec<String>,
    pub secure: bool,
    pub cross_site: bool,
    pub people_file: String,
    pub instance: String,
    pub address: String,
    pub ca: Option<String>,
    pub certificate: Option<String>,
    pub key: Option<String>,
}

impl Settings {
    pub fn from_env() -> Result<Self> {
        let given = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let or = |name, otherwise: &str| given(name).unwrap_or_else(|| otherwise.to_owned());
        let public_url = or("PUBLIC_URL", "http://localhost:8000");
        let apps = or("APP_ORIGINS", "http://localhost:3001");
        let same_site = or("COOKIE_SAMESITE", "Lax");
        ensure!(["Lax", "None"].contains(&same_site.as_str()), "COOKIE_SAMESITE: {same_site:?} must be Lax or None");
        let settings = Self {
            listen: or("LISTEN", "127.0.0.1:8000"),
            origins: apps.split(',').map(str::to_owned).chain([public_url.clone()]).collect(),
            secure: public_url.starts_with("https://"),
            cross_site: same_site == "None",
            people_file: or("PEOPLE_FILE", "../people.json"),
            instance: or("METABASE_INSTANCE", ""),
            address: or("METABASE_TOKEN_SERVICE_ADDRESS", "http://127.0.0.1:50051"),
            ca: given("METABASE_TOKEN_SERVICE_TLS_CA"),
            certificate: given("METABASE_TOKEN_SERVICE_TLS_CERTIFICATE"),
            key: given("METABASE_TOKEN_SERVICE_TLS_KEY"),
        };
        for origin in &settings.origins {
            let is_origin = Url::parse(origin).is_ok_and(|url| url.origin().ascii_serialization() == *origin);
            ensure!(is_origin, "APP_ORIGINS, PUBLIC_URL: {origin:?} is not an origin such as https://app.example.com");
        }
        ensure!(
            settings.secure || !settings.cross_site,
            "COOKIE_SAMESITE=None needs an https PUBLIC_URL: browsers drop the cookie otherwise"
        );
        ensure!(
            settings.address.starts_with("https://") == settings.ca.is_some(),
            "METABASE_TOKEN_SERVICE_TLS_CA goes together with an https METABASE_TOKEN_SERVICE_ADDRESS"
        );
        ensure!(
            settings.certificate.is_some() == settings.key.is_some(),
            "METABASE_TOKEN_SERVICE_TLS_CERTIFICATE goes together with METABASE_TOKEN_SERVICE_TLS_KEY"
        );
        Ok(settings)
    }
}
