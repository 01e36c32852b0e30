use super::*;

/// The smallest configuration; tests add to it, and it is lines 1 to 3 of the text.
const INSTANCE: &str = "[[instances]]\nname = \"main\"\nshared_secret = { file = \"/run/secrets/main\" }\n";

pub(in crate::config) fn errors(text: &str) -> Vec<String> {
    match Config::parse(text, "mts.toml") {
        Ok(_) => Vec::new(),
        Err(ConfigErrors(errors)) => errors.iter().map(ToString::to_string).collect(),
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn every_error_names_file_line_key_and_rule() {
    for (text, expected) in [
        ("", "mts.toml:1: at least one [[instances]] is required"),
        (
            "[servr]\n",
            "mts.toml:1: servr: unknown field `servr`, expected one of `server`, `instances`, `callers`, `deny`, `shadow`, `accounts`, `audit`, `tracing`",
        ),
        ("[server]\nlisten = 1\n", "mts.toml:2: server.listen: invalid type: integer `1`, expected a string"),
        ("[[instances]]\nname = \"a\"\n", "mts.toml:1: instances[0]: missing field `shared_secret`"),
    ] {
        assert_eq!(errors(text), [expected], "{text}");
    }
    let caller = "[[callers]]\nname = \"shop\"\n[[callers.grants]]\ninstance = \"main\"\n";
    for (text, expected) in [
        ("url = \"ftp://x\"\n", "mts.toml:4: instances[0].url: must begin with http:// or https://"),
        ("url = \"https://me:pw@x\"\n", "mts.toml:4: instances[0].url: must not contain a user name or password"),
        (
            "environment = \"test\"\n",
            "mts.toml:4: instances[0].environment: unknown variant `test`, expected `production` or `development`",
        ),
        (
            "token_lifetime = { default = \"2h\" }\n",
            "mts.toml:4: instances[0].token_lifetime.default: default (7200 s) must not be above max (3600 s)",
        ),
        (
            "token_lifetime = { max = \"59s\" }\n",
            "mts.toml:4: instances[0].token_lifetime.max: must be from 60 s to 86400 s, is 59 s",
        ),
        (
            "token_lifetime = { max = \"soon\" }\n",
            "mts.toml:4: instances[0].token_lifetime.max: must be a duration such as \"90s\", \"10m\" or \"1h\"",
        ),
        (
            "claims = { groups = \"email\" }\n",
            "mts.toml:4: instances[0].claims.groups: must not be the same as `email`: two claims of one name overwrite each other",
        ),
        (
            "next_shared_secret = { file = \"/x\" }\n",
            "mts.toml:4: instances[0].next_shared_secret: needs `url` or `api_url`: only Metabase can tell which of the two secrets it holds",
        ),
        (
            "url = \"http://x\"\nprobe_interval = \"off\"\nnext_shared_secret = { file = \"/x\" }\n",
            "mts.toml:6: instances[0].next_shared_secret: needs `probe_interval`: only Metabase can tell which of the two secrets it holds",
        ),
        (
            "probe_interval = \"2h\"\n",
            "mts.toml:4: instances[0].probe_interval: must be a duration from \"1s\" to \"1h\", or \"off\"",
        ),
        (
            "url = \"http://x\"\napi_ca = \"/ca\"\n",
            "mts.toml:5: instances[0].api_ca: needs an https `api_url` or `url`",
        ),
        (
            "[[instances]]\nname = \"main\"\nshared_secret = { env = \"X\" }\n",
            "mts.toml:5: instances[1].name: must be unique among the instances",
        ),
        (
            "[server]\nlisten = \"0.0.0.0:50051\"\n",
            "mts.toml:5: server.listen: must be a loopback address (127.0.0.1 or [::1]) or a Unix socket without `server.tls`: tokens never travel in plaintext between machines",
        ),
        (
            "[server]\nlisten = \"unix:mts.sock\"\n",
            "mts.toml:5: server.listen: must be an absolute path after \"unix:\", such as \"unix:/run/mts/mts.sock\"",
        ),
        ("[server]\nlisten_mode = \"0660\"\n", "mts.toml:5: server.listen_mode: needs a Unix socket as `listen`"),
        (
            "[server]\nlisten = \"unix:/run/mts.sock\"\nlisten_mode = \"660\"\n",
            "mts.toml:6: server.listen_mode: must be four octal digits beginning with 0, such as \"0660\"",
        ),
        (
            "[server]\nprobe_listen = \"0.0.0.0:9464\"\n",
            "mts.toml:5: server.probe_listen: 127.0.0.1:9464 and 0.0.0.0:9464 collide: every listener needs an address of its own",
        ),
        (
            "[server]\nmetrics_listen = \"127.0.0.1:50051\"\n",
            "mts.toml:5: server.metrics_listen: 127.0.0.1:50051 and 127.0.0.1:50051 collide: every listener needs an address of its own",
        ),
        (
            "server = 1\n",
            "mts.toml:4: instances[0].server: unknown field `server`, expected one of `name`, `default`, `url`, `api_url`, `api_ca`, `environment`, `shared_secret`, `next_shared_secret`, `probe_interval`, `token_lifetime`, `tenancy`, `one_account_per_user`, `claims`",
        ),
        ("[server]\ntls = 1\n", "mts.toml:5: server.tls: invalid type: integer `1`, expected a table [server.tls]"),
        (
            "claims = { email = \"groups\" }\n",
            "mts.toml:4: instances[0].claims.email: must not be the same as `groups`: two claims of one name overwrite each other",
        ),
        (
            "[server.identity]\nlocal = \"shop\"\n",
            "mts.toml:5: server.identity.local: must be the name of one of the [[callers]]",
        ),
        (
            "[server.identity]\nmtls = true\n",
            "mts.toml:5: server.identity.mtls: needs `server.tls.client_ca`, which vouches for the callers' certificates",
        ),
        (
            "[[server.identity.jwt]]\nissuer = \"i\"\naudience = \"a\"\njwks = \"http://x/keys\"\n",
            "mts.toml:7: server.identity.jwt[0].jwks: must be the path of a file or an https URL without a user name: whoever changes the keys on their way can name any caller",
        ),
        (
            "[[server.identity.jwt]]\nissuer = \"i\"\naudience = \"a\"\njwks = \"k\"\njwks_ca = \"c\"\n",
            "mts.toml:8: server.identity.jwt[0].jwks_ca: needs an https URL as `jwks`: a file has no server to vouch for",
        ),
        (
            "[server.identity]\nxfcc = { trusted = [\"10.0.0.0/8\"] }\n",
            "mts.toml:5: server.identity.xfcc.trusted[0]: must be \"loopback\" or \"unix\": only a sidecar on this machine is trusted",
        ),
        (
            "[server.identity]\nlinkerd = { trusted = [] }\n",
            "mts.toml:5: server.identity.linkerd.trusted: must list the peers that may forward an identity: \"loopback\", \"unix\", or both",
        ),
        (
            "[server.tls]\ncertificate = \"c\"\nprivate_key = \"k\"\nclient_crl = \"r\"\n",
            "mts.toml:7: server.tls.client_crl: needs `client_ca`: it lists what that CA has revoked",
        ),
        (
            "[server]\nlisten = \"unix:/x\"\n[server.tls]\ncertificate = \"c\"\nprivate_key = \"k\"\n",
            "mts.toml:5: server.listen: must be an IP address and a port when `server.tls` is given: a Unix socket has no TLS",
        ),
        ("[deny]\nemails = [\"eve\"]\n", "mts.toml:5: deny.emails[0]: must be an e-mail address: it has no @"),
        ("[deny]\ncallers = [\"shop\"]\n", "mts.toml:5: deny.callers[0]: must be the name of one of the [[callers]]"),
        (
            "[[callers]]\nname = \"a\"\nidentities = [\"spiffe://Example.org/a\"]\n",
            "mts.toml:6: callers[0].identities[0]: a trust domain has 1 to 255 lower-case letters, digits, '.', '-' and '_', without a port or a user",
        ),
        (
            "[[callers]]\nname = \"a\"\nidentities = [\"a.example\", \"A.example\"]\n",
            "mts.toml:6: callers[0].identities[1]: must be unique: one identity is one caller",
        ),
    ] {
        assert_eq!(errors(&format!("{INSTANCE}{text}")), [expected], "{text}");
    }
    for (text, expected) in [
        (
            "[[callers.grants]]\ninstance = \"other\"\n",
            "mts.toml:9: callers[0].grants[1].instance: must be the name of one of the [[instances]]",
        ),
        (
            "[[callers.grants]]\ninstance = \"main\"\n",
            "mts.toml:9: callers[0].grants[1].instance: must be unique among the caller's grants: write one grant for each instance",
        ),
        (
            "email_domains = [\"localhost\"]\n",
            "mts.toml:8: callers[0].grants[0].email_domains[0]: must be a domain such as \"example.com\" (exact: subdomains are listed by themselves), or \"*\" for every domain",
        ),
        (
            "groups = [\"A*B\"]\n",
            "mts.toml:8: callers[0].grants[0].groups[0]: must be an exact name, or the beginning of names with one * at its end",
        ),
        (
            "attributes = { a = \"int\" }\n",
            "mts.toml:8: callers[0].grants[0].attributes.a: must be \"integer\", \"uuid\", \"boolean\", \"string\", a list of allowed values, or { regex = \"…\" }",
        ),
        (
            "attributes = { a = 1 }\n",
            "mts.toml:8: callers[0].grants[0].attributes.a: must be \"integer\", \"uuid\", \"boolean\", \"string\", a list of allowed values, or { regex = \"…\" }",
        ),
        (
            "attributes = { email = \"string\" }\n",
            "mts.toml:8: callers[0].grants[0].attributes.email: the key must not be a claim name of the instance: it would replace the person's identity",
        ),
        (
            "required_attributes = [\"b\"]\n",
            "mts.toml:8: callers[0].grants[0].required_attributes[0]: must also have a rule in `attributes`, or no token could ever be issued",
        ),
        (
            "max_lifetime = \"2h\"\n",
            "mts.toml:8: callers[0].grants[0].max_lifetime: must not be above the instance's maximum of 3600 s",
        ),
        (
            "rate = { per_second = 0 }\n",
            "mts.toml:8: callers[0].grants[0].rate.per_second: invalid value: integer `0`, expected a whole number from 1 on",
        ),
        (
            "max_lifetme = \"1h\"\n",
            "mts.toml:8: callers[0].grants[0].max_lifetme: unknown field `max_lifetme`, expected one of `instance`, `email_domains`, `groups`, `allow_administrators`, `attributes`, `required_attributes`, `tenants`, `allow_no_tenant`, `tenant_attributes`, `max_lifetime`, `may_check_status`, `rate`",
        ),
    ] {
        assert_eq!(errors(&format!("{INSTANCE}{caller}{text}")), [expected], "{text}");
    }
}

#[test]
fn a_secret_in_the_file_is_refused_and_not_repeated() {
    const SECRET: &str = "8f2b7c1d9e3a4056b8c7d2e1f0a9b3c4";
    for value in [
        format!("\"{SECRET}\""),
        format!("{{ value = \"{SECRET}\" }}"),
        format!("{{ file = \"{SECRET}\" }}"),
        format!("{{ file = \"{SECRET}/qvN7+x=\" }}"),
        format!("{{ credential = \"{SECRET} !\" }}"),
        format!("{{ env = \"{SECRET}\" }}"),
        format!("{{ credential = \"{SECRET}\" }}"),
        format!("{{ {SECRET} = 1 }}"),
        format!("{{ env.{SECRET} = 1 }}"),
        format!("{{ env = [\"{SECRET}\"] }}"),
        format!("[\"{SECRET}\"]"),
        format!("{{ file = \"{SECRET}"),
    ] {
        let errors = errors(&format!("[[instances]]\nname = \"a\"\nshared_secret = {value}\n"));
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].starts_with("mts.toml:3"), "{errors:?}");
        assert!(!errors[0].replace(&format!("shared_secret.{SECRET}"), "").contains(SECRET), "{value}: {errors:?}");
    }
}

#[test]
fn all_errors_come_at_once() {
    let text = "[server]\nlisten = \"x\"\nmetrics_listen = \"y\"\n[[instances]]\nname = \"-\"\nurl = \"z\"\nshared_secret = {}\n";
    assert_eq!(errors(text).len(), 5, "{:?}", errors(text));
}

#[test]
fn the_effective_configuration_parses_to_itself() {
    let text = format!(
        "[server]\nlisten = \"unix:/run/mts.sock\"\nreflection = true\nlisten_mode = \"0660\"\n[server.identity]\nxfcc = {{ trusted = [\"unix\"] }}\n[deny]\nemails = [\"eve@example.com\"]\ncallers = [\"shop\"]\n{INSTANCE}url = \
         \"https://bi.example.com/\"\nclaims = {{ email = \"mail\" }}\ntenancy = \"required\"\n[[callers]]\nname = \
         \"shop\"\nidentities = [\"spiffe://example.org/shop\"]\n[[callers.grants]]\ninstance = \"main\"\nemail_domains = \
         [\"Example.com\"]\ngroups = [\"A\", \"B *\"]\nattributes = {{ id = \"integer\", region = [\"emea\"], code = {{ regex = \
         '[A-Z]\\d' }}, \"*\" = \"string\" }}\nrequired_attributes = [\"id\"]\ntenants = [\"*\"]\nmax_lifetime = \"15m\"\n"
    );
    let effective = Config::parse(&text, "f").unwrap().effective();
    assert_eq!(Config::parse(&effective, "f").unwrap().effective(), effective);
    for line in [
        "listen = \"unix:/run/mts.sock\"",
        "url = \"https://bi.example.com\"",
        "email = \"mail\"",
        "max_lifetime = \"900s\"",
    ] {
        assert!(effective.contains(line), "{line} in\n{effective}");
    }
}

#[test]
fn a_mistake_in_an_instance_hides_none_in_its_grants_and_makes_none_up() {
    let text = "[[instances]]\nname = \"main\"\nurl = \"ftp://x\"\nshared_secret = { file = \"/a\" }\n\
                [[instances]]\nname = \"a b\"\nshared_secret = { file = \"/b\" }\n\
                [[callers]]\nname = \"shop\"\n\
                [[callers.grants]]\ninstance = \"main\"\nemail_domains = [\"x\"]\n\
                [[callers.grants]]\ninstance = \"a b\"\n";
    let errors = errors(text);
    let keys: Vec<&str> = errors.iter().map(|error| error.split(": ").nth(1).unwrap()).collect();
    assert_eq!(keys, ["instances[0].url", "instances[1].name", "callers[0].grants[0].email_domains[0]"], "{errors:#?}");
}

#[test]
fn a_caller_on_this_machine_and_a_sidecar_on_it_exclude_each_other() {
    let text = format!(
        "{INSTANCE}[server.identity]\nlocal = \"shop\"\nxfcc = {{ trusted = [\"loopback\"] }}\n[[callers]]\nname = \"shop\"\n"
    );
    assert_eq!(
        errors(&text),
        [
            "mts.toml:5: server.identity.local: cannot stand beside `xfcc` or `linkerd`: whoever the sidecar forwards without an identity would be this caller"
        ]
    );
}

#[test]
fn a_socket_path_has_to_fit() {
    let path = |bytes: usize| format!("{INSTANCE}[server]\nlisten = \"unix:/{}\"\n", "x".repeat(bytes - 1));
    assert_eq!(errors(&path(107)), [] as [&str; 0]);
    assert_eq!(errors(&path(108)), ["mts.toml:5: server.listen: must be a path of at most 107 bytes after \"unix:\""]);
}
