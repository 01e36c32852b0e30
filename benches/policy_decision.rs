//! What a decision costs with 10,000 callers of 10 grants each, against one caller with one grant. Prints both and their
//! ratio, and fails when it is above 1.5: `cargo bench --locked --bench policy_decision`.
//!
//! A decision is what a request takes: whether the caller may use the instance at all, asked before the request is read, and
//! whether it may have this token. All are measured in one run, in turn, and every decision is another caller's. Each caller
//! has one of 100 sets of grants; what it costs when no two grants are equal is printed besides.

use std::{
    fmt::Write as _,
    hint::black_box,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use metabase_token_service::{
    config::Config,
    domain::{
        caller::{Caller, CallerId, Proof},
        instance::InstanceName,
        policy::{Decision, Policy},
        token_request::{TokenRequest, UnverifiedRequest, UnverifiedUser},
    },
};

const ROUNDS: usize = 61;
const DECISIONS: usize = 5_000;
const MOST: f64 = 1.5;

/// A policy, and one request of each of its callers on each instance it has a grant for.
struct Case {
    policy: Policy,
    requests: Vec<(Caller, InstanceName, TokenRequest)>,
}

impl Case {
    fn new(callers: usize, grants: usize, sets: usize) -> Self {
        let mut text = String::new();
        for instance in 0..grants {
            let _ =
                writeln!(text, "[[instances]]\nname = \"i{instance}\"\nshared_secret = {{ env = \"S{instance}\" }}");
        }
        for caller in 0..callers {
            let _ = writeln!(
                text,
                "[[callers]]\nname = \"c{caller}\"\nidentities = [\"spiffe://example.org/ns/shop/sa/c{caller}\"]"
            );
            for instance in 0..grants {
                let _ = writeln!(
                    text,
                    "[[callers.grants]]\ninstance = \"i{instance}\"\nemail_domains = [\"c{}-{instance}.example.com\", \"example.com\"]\n\
                     groups = [\"Customers\", \"Region *\"]\nattributes = {{ customer_id = \"integer\" }}\nmax_lifetime = \"15m\"",
                    caller % sets
                );
            }
        }
        let config = Config::parse(&text, "bench").expect("the text is valid");
        let instances: Vec<_> = config.instances.iter().map(|one| Arc::new(one.instance.clone())).collect();
        let request = |index: usize| {
            // Far apart in memory from one decision to the next.
            let caller = index * 7919 % callers;
            let identity = format!("spiffe://example.org/ns/shop/sa/c{caller}").parse().expect("it is an identity");
            let instance = Arc::clone(&instances[index % grants]);
            let name = format!("i{}", index % grants).parse().expect("it is a name");
            let request = TokenRequest::parse(unverified(), instance).expect("the request is valid");
            (Caller::new(CallerId::Proven(identity), Proof::Mtls), name, request)
        };
        Self { policy: config.policy(), requests: (0..DECISIONS).map(request).collect() }
    }

    /// Time of one decision on average.
    fn round(&self) -> Duration {
        let requests: Vec<_> =
            self.requests.iter().map(|(caller, name, request)| (caller, name, request.clone())).collect();
        #[expect(clippy::disallowed_methods, reason = "a benchmark measures durations")]
        let began = Instant::now();
        for (caller, name, request) in requests {
            assert!(self.policy.decide_access(caller, name).is_ok());
            let decision = black_box(self.policy.decide(caller, request));
            assert!(matches!(decision, Decision::Allow(_)));
        }
        began.elapsed() / u32::try_from(DECISIONS).unwrap_or(u32::MAX)
    }
}

fn unverified() -> UnverifiedRequest {
    let user = UnverifiedUser {
        id: "7".to_owned(),
        email: "ada@example.com".to_owned(),
        first_name: "Ada".to_owned(),
        last_name: "Lovelace".to_owned(),
    };
    UnverifiedRequest {
        user: Some(user),
        groups: Some(vec!["Customers".to_owned(), "Region EMEA".to_owned()]),
        attributes: [("customer_id".to_owned(), "42".to_owned())].into(),
        ..UnverifiedRequest::default()
    }
}

fn median(mut values: Vec<Duration>) -> Duration {
    values.sort_unstable();
    values[values.len() / 2]
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
fn main() -> ExitCode {
    let (one, many, different) = (Case::new(1, 1, 1), Case::new(10_000, 10, 100), Case::new(10_000, 10, 10_000));
    let (mut of_one, mut of_many, mut of_different) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        of_one.push(one.round());
        of_many.push(many.round());
        of_different.push(different.round());
    }
    let (of_one, of_many, of_different) = (median(of_one), median(of_many), median(of_different));
    let ratio = of_many.as_secs_f64() / of_one.as_secs_f64();
    println!("policy decision, median of {ROUNDS} rounds of {DECISIONS}");
    println!("      1 caller  x  1 grant:  {of_one:?}");
    println!("  10000 callers x 10 grants: {of_many:?}");
    println!("  ratio: {ratio:.2} (at most {MOST})");
    println!("  10000 callers x 10 grants, all different: {of_different:?}");
    if ratio <= MOST { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
