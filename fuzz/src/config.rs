//! Configuration text: what is refused is refused with its place, and what is accepted can be written out and read again.

use metabase_token_service::config::Config;

pub fn check(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    match Config::parse(text, "fuzz.toml") {
        Ok(config) => {
            let effective = config.effective();
            let again = Config::parse(&effective, "effective.toml")
                .unwrap_or_else(|errors| panic!("what is written out is not read: {errors}\n{effective}"));
            assert_eq!(again.effective(), effective);
            let tables: toml::Table = effective.parse().expect("it is TOML");
            assert!(tables.contains_key("instances"));
            // One entry for each grant, which debug assertions check.
            drop(config.policy());
        }
        Err(errors) => {
            assert!(!errors.0.is_empty());
            let lines = text.split('\n').count();
            for error in errors.0 {
                assert!(error.location.line <= lines, "{error}");
                assert!(!error.rule.is_empty() && !error.rule.contains('\n'), "{error}");
            }
        }
    }
}
