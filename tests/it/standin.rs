//! A stand-in for Metabase: the server's side of its contract, version by version, with its own check of tokens, in the order
//! of buddy-sign. It shares no code with the service.

mod routes;
pub(crate) mod token;

pub(crate) use self::token::now;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::Router;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What the version of the server brings with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Era {
    /// 50 to 54: `token=true` makes the answer JSON.
    TokenTrue,
    /// 55 and 56: discovery, with a hash.
    Hash,
    /// 58: discovery without it.
    Plain,
    /// 61: `POST /auth/sso/to_session`.
    ToSession,
}

pub(crate) const ERAS: [Era; 4] = [Era::TokenTrue, Era::Hash, Era::Plain, Era::ToSession];

/// What the server does in place of its work.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Fault {
    #[default]
    None,
    /// 503 while it starts.
    Starting,
    /// Accepts and never answers.
    Hang,
    /// Breaks the connection in the middle of the answer.
    Reset,
    /// This status and body, whatever is asked.
    Answer(u16, &'static str),
    /// Never answers `DELETE /api/session` the first this many times, but with 500.
    DeleteFails(usize),
    /// Accepts `DELETE /api/session` and never answers it.
    DeleteHangs,
}

/// The server's settings, data, and memory of what it was asked.
#[derive(Clone)]
pub(crate) struct Metabase {
    pub(crate) url: String,
    state: Arc<Shared>,
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "switches")]
pub(crate) struct Settings {
    pub(crate) era: Era,
    pub(crate) secret: String,
    pub(crate) is_sso_on: bool,
    pub(crate) is_licensed: bool,
    pub(crate) is_enterprise: bool,
    pub(crate) is_sdk_on: bool,
    pub(crate) is_provisioning: bool,
    pub(crate) fault: Fault,
    /// Seconds by which its clock is ahead.
    pub(crate) skew: i64,
    /// An attribute that was set by hand.
    pub(crate) by_hand: Option<(String, String)>,
    /// A group key, not a person's.
    pub(crate) api_key: String,
}

#[derive(Default)]
struct Data {
    /// By e-mail.
    users: HashMap<String, Value>,
    /// E-mails by session.
    sessions: HashMap<String, String>,
    sessions_ever: usize,
    deletes_failed: usize,
    asked: Vec<String>,
}

struct Shared {
    settings: Mutex<Settings>,
    data: Mutex<Data>,
    requests: AtomicUsize,
}

impl Metabase {
    pub(crate) async fn start(era: Era, secret: &str) -> Self {
        let settings = Settings {
            era,
            secret: secret.to_owned(),
            is_sso_on: true,
            is_licensed: true,
            is_enterprise: true,
            is_sdk_on: true,
            is_provisioning: true,
            fault: Fault::None,
            skew: 0,
            by_hand: None,
            api_key: "mb_standin".to_owned(),
        };
        let state =
            Arc::new(Shared { settings: Mutex::new(settings), data: Mutex::default(), requests: AtomicUsize::new(0) });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(routes::answer).with_state(Arc::clone(&state));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, state }
    }

    pub(crate) fn set(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.state.settings.lock().unwrap());
    }

    /// Whether it would take the token; without signing anybody in.
    pub(crate) fn takes(&self, jwt: &str) -> bool {
        let settings = self.state.settings.lock().unwrap();
        token::unsign(jwt, &settings.secret, now() + settings.skew).is_ok()
    }

    pub(crate) fn live_sessions(&self) -> usize {
        self.state.data.lock().unwrap().sessions.len()
    }

    pub(crate) fn sessions_ever(&self) -> usize {
        self.state.data.lock().unwrap().sessions_ever
    }

    pub(crate) fn users(&self) -> usize {
        self.state.data.lock().unwrap().users.len()
    }

    pub(crate) fn requests(&self) -> usize {
        self.state.requests.load(Ordering::Relaxed)
    }

    /// Method and path of every request, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.state.data.lock().unwrap().asked.clone()
    }

    /// A session as a person's browser has one.
    pub(crate) fn sign_in(&self, email: &str) -> String {
        self.state.session(&json!({ "email": email, "first_name": "Ada", "last_name": "Lovelace" }))
    }
}

impl Shared {
    fn session(&self, user: &Value) -> String {
        let mut data = self.data.lock().unwrap();
        let email = user["email"].as_str().unwrap().to_owned();
        data.sessions_ever += 1;
        let id = format!("00000000-0000-4000-8000-{:012}", data.sessions_ever);
        data.users.insert(email.clone(), user.clone());
        data.sessions.insert(id.clone(), email);
        id
    }
}
