use super::super::{Config, parse::tests::errors};

const MAIN: &str = "[[instances]]\nname = \"main\"\nshared_secret = { env = \"S\" }\n";

#[test]
fn every_mistake_in_accounts_names_its_key_and_the_way_out() {
    let redis = "[accounts.redis]\non_store_failure = \"deny\"\nhash_key = { env = \"K\" }\n";
    for (text, key, rule) in [
        ("[accounts]\nwindow = \"0s\"\n", "window", "must be a duration from \"1s\" to \"30days\""),
        ("[accounts]\nwindow = \"1500ms\"\n", "window", "must be in whole seconds"),
        (
            "[accounts]\nwindow = 5\n",
            "window",
            "invalid type: integer `5`, expected a duration in quotes, such as \"10s\" or \"24h\"",
        ),
        ("[accounts]\ntokens_per_hour = 0\n", "tokens_per_hour", "must be a whole number from 1 to 50000, or \"off\""),
        (
            "[accounts]\ntokens_per_hour = \"no\"\n",
            "tokens_per_hour",
            "must be a whole number from 1 to 50000, or \"off\"",
        ),
        ("[accounts]\nmax_bindings = 1\n", "max_bindings", "must be a whole number from 1000 to 1000000000"),
        ("urls = []", "redis.urls", "must name a server, or nodes of a cluster"),
        ("urls = [\"http://x\"]", "redis.urls[0]", "must be rediss://HOST:PORT, or redis://HOST:PORT without TLS"),
        (
            "urls = [\"rediss://u:p@x\"]",
            "redis.urls[0]",
            "must not contain a user name or password: they have keys of their own",
        ),
        ("urls = [\"rediss://x/1\"]", "redis.urls[0]", "must end with the port"),
        ("urls = [\"rediss://x:0\"]", "redis.urls[0]", "must name a port that can be connected to"),
        (
            "[accounts.redis]\nurls = [\"rediss://x\"]\nhash_key = { env = \"K\" }\n",
            "redis",
            "missing field `on_store_failure`: \"allow\" issues tokens unchecked while Redis does not answer, \"deny\" refuses",
        ),
        (
            "[accounts.redis]\nurls = [\"rediss://x\"]\non_store_failure = \"deny\"\n",
            "redis",
            "missing field `hash_key`: a secret that all replicas have; `metabase-token-service keygen` makes one",
        ),
        ("urls = [\"redis://10.0.0.1\"]", "redis.urls[0]", "must begin with rediss:// beyond this machine"),
        (
            "urls = [\"redis://localhost.example.com\"]",
            "redis.urls[0]",
            "must begin with rediss:// beyond this machine",
        ),
        (
            "urls = [\"rediss://a\", \"rediss://b\"]",
            "redis.urls",
            "must be a single one, unless they are nodes of a cluster: then set cluster = true",
        ),
        ("cluster = true\nurls = [\"rediss://a\", \"redis://[::1]\"]", "redis.urls", "must all begin with rediss://"),
        ("urls = [\"redis://127.0.0.1\"]\nca = \"/ca.pem\"", "redis.ca", "has no use without a rediss:// URL"),
        ("urls = [\"rediss://a\"]\nusername = \"mts\"", "redis.username", "needs `password`"),
        ("urls = [\"rediss://a\"]\nbudget = \"2s\"", "redis.budget", "must be a duration from \"1ms\" to \"1s\""),
        (
            "urls = [\"rediss://a\"]\nrepeats_for = \"11s\"",
            "redis.repeats_for",
            "must be a duration from \"0s\" to \"10s\"",
        ),
    ] {
        let text = if text.starts_with('[') { text.to_owned() } else { format!("{redis}{text}\n") };
        let found = errors(&(text.clone() + MAIN));
        let expected = format!(": accounts.{key}: {rule}");
        assert!(found.len() == 1 && found[0].contains(&expected), "{text}: {found:?}");
        assert!(!found[0].contains("u:p"), "{found:?}");
    }
    let short = format!("[accounts]\nwindow = \"30s\"\n{redis}urls = [\"rediss://a\"]\n");
    let found = errors(&format!("{short}repeats_for = \"6s\"\n{MAIN}"));
    assert!(found.len() == 1 && found[0].contains("must be at most a sixth of `accounts.window`"), "{found:?}");
    for good in [short.as_str(), &format!("{redis}urls = [\"redis://x\"]\nallow_plaintext = true\n")] {
        let effective = Config::parse(&format!("{good}{MAIN}"), "mts.toml").unwrap().effective();
        let again = Config::parse(&effective, "again.toml").unwrap();
        assert_eq!(again.effective(), effective);
        assert!(!effective.contains("hash_key = \"K\""), "{effective}");
    }
}
