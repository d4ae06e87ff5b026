//! A configuration from variables: errors name the variable, and nothing shows a secret.

use relay_proto::gateway::{Config, ConfigError};

use super::input::Input;

const NAMES: [&str; 13] = [
    "GATEWAY_RELAY_URL",
    "GATEWAY_RELAY_PLATFORMS",
    "GATEWAY_RELAY_BOT_IDS",
    "GATEWAY_RELAY_ID",
    "GATEWAY_RELAY_SECRET",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "NO_PROXY",
    "no_proxy",
    "REQUEST_METHOD",
];

/// Stands for `~` in a value: long enough to be found wherever it shows.
const SECRET: &str = "hunter2-correct-horse";

/// Lines: a byte for the variable, and its value. A value that is `!` cannot be read. `~` is a secret in a secret, and as a
/// password in an address.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut vars: Vec<(&str, Result<String, String>)> = Vec::new();
    while !input.is_empty() {
        let name = NAMES[usize::from(input.byte()) % NAMES.len()];
        let value = input.text();
        vars.retain(|(other, _)| *other != name);
        vars.push((name, if value == "!" { Err("cannot be read".into()) } else { Ok(fill_in(name, &value)) }));
    }
    let lookup = |name: &'static str| {
        let value = vars.iter().find(|(other, _)| *other == name).map(|(_, value)| value.clone());
        value.transpose()
    };
    let set = |name: &str| vars.iter().any(|(other, value)| *other == name && value.is_ok());

    let config = match Config::from_vars(lookup) {
        Ok(config) => config,
        Err(error) => return judge(&error),
    };
    assert!(set("GATEWAY_RELAY_URL"), "this one is required");
    hides(&format!("{config:?}"));
    match config.clone().build() {
        Ok(settings) => {
            hides(&format!("{settings:?} {:?}", settings.warnings()));
            assert!(!settings.identities().is_empty());
            assert!(!settings.is_authenticated() || (set("GATEWAY_RELAY_ID") && set("GATEWAY_RELAY_SECRET")));
            let plain = settings.is_authenticated() && !settings.target().is_tls();
            assert!(!plain || settings.target().is_loopback(), "a token would cross the network readable");
            if let Some(proxy) = settings.proxy() {
                hides(&format!("{proxy} {proxy:?}"));
                assert!(!settings.target().is_loopback(), "loopback goes through no proxy");
            }
        }
        Err(error) => {
            hides(&format!("{error} {error:?}"));
            // Allowing it is all that was missing.
            if let ConfigError::PlaintextCredentials { host } = &error {
                let settings = config.allow_plaintext_credentials(true).build().unwrap();
                assert_eq!(host, settings.target().host());
            }
        }
    }
}

fn fill_in(name: &str, value: &str) -> String {
    // A fuzzer learns the secret, and writes it where it is none.
    let value = value.replace(SECRET, "");
    match name {
        "GATEWAY_RELAY_SECRET" => value.replace('~', SECRET),
        // Elsewhere than in user information it would be no secret.
        "GATEWAY_RELAY_URL" => value.replace(":~@", &format!(":{SECRET}@")),
        "NO_PROXY" | "no_proxy" => value,
        name if name.to_ascii_lowercase().ends_with("_proxy") => value.replace(":~@", &format!(":{SECRET}@")),
        _ => value,
    }
}

fn judge(error: &ConfigError) {
    hides(&format!("{error} {error:?}"));
    let ConfigError::Variable { name, problem } = error else { panic!("{error:?} names no variable") };
    assert!(NAMES.contains(name) || *name == "all_proxy", "{name}");
    assert!(!problem.is_empty() && error.to_string().starts_with(&format!("{name}: ")), "{error}");
}

fn hides(shown: &str) {
    assert!(!shown.contains(SECRET), "{shown}");
}
