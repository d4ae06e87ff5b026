//! Configuration from environment variables.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::value::RawValue;

use super::config::{Config, ConfigError, Identity, ProxyChoice};
use crate::json;
use crate::proxy::ProxyVars;

/// The connector's base URL.
pub(crate) const URL: &str = "GATEWAY_RELAY_URL";
const ID: &str = "GATEWAY_RELAY_ID";
const SECRET: &str = "GATEWAY_RELAY_SECRET";
const PLATFORMS: &str = "GATEWAY_RELAY_PLATFORMS";
const BOT_IDS: &str = "GATEWAY_RELAY_BOT_IDS";

impl Config {
    /// The configuration in the process's environment: see [`from_vars`](Self::from_vars).
    ///
    /// # Errors
    /// [`ConfigError::Variable`] names the variable.
    #[cfg(feature = "std")]
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_vars(variable)
    }

    /// Reaches the connector through the proxy that the process's environment names, if it does (DIAL-6): see
    /// [`from_vars`](Self::from_vars), which includes this. Whether a variable holds a good address is checked in
    /// [`build`](Self::build), and only if it is used.
    ///
    /// # Errors
    /// [`ConfigError::Variable`] names a variable that is not Unicode.
    #[cfg(feature = "std")]
    pub fn proxy_from_env(self) -> Result<Self, ConfigError> {
        Ok(self.proxy_choice(ProxyChoice::Variables(ProxyVars::read(variable)?)))
    }

    /// The configuration in variables, wherever they come from.
    ///
    /// | variable | value |
    /// |---|---|
    /// | `GATEWAY_RELAY_URL` | the connector's base URL; required |
    /// | `GATEWAY_RELAY_PLATFORMS` | the platforms to front, comma separated, the default first; without it, `relay` |
    /// | `GATEWAY_RELAY_BOT_IDS` | a JSON object: platform → `{"botId": "…"}`; a platform may be missing |
    /// | `GATEWAY_RELAY_ID`, `GATEWAY_RELAY_SECRET` | the credentials; optional |
    /// | `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` | the proxy for `wss`, for `ws`, and for what has none; optional |
    /// | `NO_PROXY` | a comma list of hosts that need none: domains, addresses, networks, or `*` |
    ///
    /// The proxy variables are also read in lower case, which goes first. Loopback never needs a proxy.
    ///
    /// White space around values is cut off, and a byte order mark in front. An empty value is the same as none, and so is an empty name in a list. Quotes and
    /// comments are for the reader of a file to take off: a platform's name with either in it is an error, since some
    /// readers, such as docker's, leave them on.
    ///
    /// # Errors
    /// [`ConfigError::Variable`] names the variable, and never shows a secret.
    pub fn from_vars(lookup: impl Fn(&'static str) -> Result<Option<String>, String>) -> Result<Self, ConfigError> {
        let error = |name: &'static str, problem: String| ConfigError::Variable { name, problem };
        let get = |name: &'static str| -> Result<Option<String>, ConfigError> {
            let value = lookup(name).map_err(|problem| error(name, problem))?;
            Ok(value.map(|value| bare(&value).to_string()).filter(|value| !value.is_empty()))
        };
        let url = get(URL)?.ok_or_else(|| {
            error(URL, "not set: the connector's base URL, for example https://connector.example".into())
        })?;
        let platforms = get(PLATFORMS)?;
        let bot_ids = match get(BOT_IDS)? {
            Some(text) => bot_ids(&text).map_err(|problem| error(BOT_IDS, problem))?,
            None => BTreeMap::new(),
        };
        let mut config = Self::new(url).proxy_choice(ProxyChoice::Variables(ProxyVars::read(&lookup)?));
        let named = platforms.as_deref().unwrap_or_default().split(',').map(str::trim);
        let mut fronted: Vec<&str> = named.filter(|platform| !platform.is_empty()).collect();
        if fronted.is_empty() {
            fronted.push(Identity::GENERIC);
        }
        for (at, platform) in fronted.iter().enumerate() {
            if let Some(problem) = left_over(platform) {
                return Err(error(PLATFORMS, format!("the name `{}` {problem}", excerpt(platform))));
            }
            if fronted.iter().take(at).any(|before| before == platform) {
                return Err(error(PLATFORMS, format!("`{platform}` is there twice")));
            }
            config = config.identity(*platform, bot_ids.get(*platform).cloned().unwrap_or_default());
        }
        if let Some(stray) = bot_ids.keys().find(|name| !fronted.contains(&name.as_str())) {
            let listed = platforms.map_or("not set".into(), |platforms| format!("`{}`", excerpt(&platforms)));
            let problem = format!("`{}` is not one of the platforms in {PLATFORMS} ({listed})", excerpt(stray));
            return Err(error(BOT_IDS, problem));
        }
        // A secret that is set and blank is told as a warning, so it is not read through `get`.
        let secret = lookup(SECRET).map_err(|problem| error(SECRET, problem))?;
        match (get(ID)?, secret) {
            (Some(id), Some(secret)) => Ok(config.credentials(id, bare(&secret))),
            (None, Some(secret)) => Ok(config.credentials("", bare(&secret))),
            (Some(id), None) => Ok(config.gateway_id(id)),
            (None, None) => Ok(config),
        }
    }
}

#[cfg(feature = "std")]
fn variable(name: &'static str) -> Result<Option<String>, String> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err("the value is not Unicode".to_string()),
    }
}

/// A value without what a file may have put around it: white space, and a byte order mark in front.
fn bare(value: &str) -> &str {
    let value = value.trim();
    value.strip_prefix('\u{feff}').map_or(value, str::trim)
}

/// What is wrong with a platform's name that ends in what the writer of a file meant for the file's reader.
fn left_over(platform: &str) -> Option<&'static str> {
    if platform.contains('#') {
        Some("has a `#` in it: what reads this file takes no comment behind a value; put it on a line of its own")
    } else if platform.contains(['"', '\'']) {
        Some("has a quote in it: what reads this file keeps quotes; leave them out")
    } else if platform.contains(char::is_whitespace) {
        Some("has white space in it: put a comma between platforms")
    } else {
        None
    }
}

/// Not all of a long text, for an error.
fn excerpt(text: &str) -> String {
    let mut chars = text.chars();
    let mut short: String = chars.by_ref().take(64).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}

/// `{"discord":{"botId":"1234"}}`
fn bot_ids(text: &str) -> Result<BTreeMap<String, String>, String> {
    let map: BTreeMap<String, &RawValue> = serde_json::from_str(text).map_err(|error| {
        let quotes = if text.starts_with('\'') { " (what reads this file keeps quotes: leave them out)" } else { "" };
        format!("not a JSON object of platforms: {error}{quotes}")
    })?;
    map.into_iter()
        .map(|(platform, value)| {
            let bot_id = json::members(value.get(), &["botId"])
                .ok()
                .and_then(|[bot_id]| bot_id.and_then(json::text).map(|id| id.into_owned()))
                .ok_or_else(|| {
                    format!("`{platform}` should be an object with a `botId`, for example {{\"botId\":\"1234\"}}")
                })?;
            Ok((platform, bot_id))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::ConfigWarning;

    fn config(vars: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_vars(|name| Ok(vars.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string())))
    }

    fn problem(vars: &[(&str, &str)]) -> (&'static str, String) {
        match config(vars).unwrap_err() {
            ConfigError::Variable { name, problem } => (name, problem),
            other => panic!("{other}"),
        }
    }

    const BASE: [(&str, &str); 2] = [(URL, " https://c.example "), (PLATFORMS, "discord, telegram")];

    #[test]
    fn the_environment_configures_a_gateway() {
        let bots = (BOT_IDS, r#"{"telegram":{"botId":7}}"#);
        let settings = config(&[BASE[0], BASE[1], bots, (ID, "gw"), (SECRET, "s ")]).unwrap().build().unwrap();
        assert_eq!(settings.target().url(), "wss://c.example/relay");
        let identities: alloc::vec::Vec<_> =
            settings.identities().iter().map(|i| (i.platform.as_str(), i.bot_id.as_str())).collect();
        assert_eq!(identities, [("discord", ""), ("telegram", "7")]);
        assert!(settings.is_authenticated() && settings.warnings().is_empty());
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_value() {
        let token = |secret: &str| {
            let vars = [(URL, "\u{feff}https://c.example"), BASE[1], (ID, "\u{feff}gw"), (SECRET, secret)];
            let settings = config(&vars).unwrap().build().unwrap();
            let credentials = settings.credentials.unwrap();
            crate::token::mint(&credentials.id, &credentials.secret, 0, 0).as_str().to_string()
        };
        assert_eq!(token("\u{feff}s3cret"), token("s3cret"));
        assert_eq!(token(" \u{feff}s3cret\r\n"), token("s3cret"));
        assert_ne!(token("s3\u{feff}cret"), token("s3cret"));
    }

    fn fronted(platforms: Option<&str>) -> Vec<(String, String)> {
        let mut vars = Vec::from([BASE[0]]);
        vars.extend(platforms.map(|platforms| (PLATFORMS, platforms)));
        let settings = config(&vars).unwrap().build().unwrap();
        settings.identities().iter().map(|one| (one.platform.clone(), one.bot_id.clone())).collect()
    }

    // proves: HELLO-4
    #[test]
    fn without_a_platform_it_fronts_the_generic_one() {
        for none in [None, Some(""), Some(" "), Some(","), Some(" , ,")] {
            assert_eq!(fronted(none), [("relay".to_string(), String::new())], "{none:?}");
        }
        let bots = (BOT_IDS, r#"{"relay":{"botId":"7"}}"#);
        let settings = config(&[BASE[0], bots]).unwrap().build().unwrap();
        assert_eq!(settings.identities()[0].bot_id, "7");
    }

    #[test]
    fn an_empty_name_in_a_list_is_none() {
        for list in ["discord,telegram,", ",discord,,telegram", " discord , telegram , "] {
            let names: Vec<_> = fronted(Some(list)).into_iter().map(|(platform, _)| platform).collect();
            assert_eq!(names, ["discord", "telegram"], "{list:?}");
        }
    }

    #[test]
    fn what_a_reader_of_files_left_on_is_no_platform() {
        for (list, word) in [
            ("discord # my bot", "comment"),
            ("discord #my bot", "comment"),
            ("discord,telegram # both", "comment"),
            ("discord#1", "comment"),
            ("\"discord\"", "quote"),
            ("'discord,telegram'", "quote"),
            ("discord telegram", "comma"),
        ] {
            let (name, problem) = problem(&[BASE[0], (PLATFORMS, list)]);
            assert!(name == PLATFORMS && problem.contains(word), "{list}: {problem}");
        }
        let (_, long) = problem(&[BASE[0], (PLATFORMS, &["#".repeat(9000), "x".into()].concat())]);
        assert!(long.len() < 400, "{long}");
        let (name, problem) = problem(&[BASE[0], BASE[1], (BOT_IDS, r#"'{"discord":{"botId":"7"}}'"#)]);
        assert!(name == BOT_IDS && problem.contains("quotes"), "{problem}");
    }

    // proves: DIAL-2
    #[test]
    fn a_blank_secret_is_a_missing_one_and_a_warning() {
        let settings = config(&[BASE[0], BASE[1], (ID, "gw"), (SECRET, "  ")]).unwrap().build().unwrap();
        assert!(!settings.is_authenticated());
        assert_eq!(settings.warnings(), [ConfigWarning::BlankSecret]);
    }

    #[test]
    fn errors_name_the_variable_and_what_to_do() {
        assert_eq!(problem(&[]).0, URL);
        assert_eq!(problem(&[BASE[0], (PLATFORMS, "a,a")]).0, PLATFORMS);
        let (name, problem_without) = problem(&[BASE[0], (BOT_IDS, r#"{"discord":{"botId":"7"}}"#)]);
        assert!(name == BOT_IDS && problem_without.contains("not set"), "{problem_without}");
        for bad in ["{", "[]", r#"{"discord":"7"}"#, r#"{"discord":{"bot":"7"}}"#, r#"{"slack":{"botId":"7"}}"#] {
            let (name, problem) = problem(&[BASE[0], BASE[1], (BOT_IDS, bad)]);
            assert_eq!(name, BOT_IDS, "{bad}: {problem}");
        }
    }
}
