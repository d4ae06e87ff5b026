//! The proxy that the environment names.

use alloc::string::{String, ToString as _};

use zeroize::Zeroizing;

use super::{Proxy, bypass::bypasses};
use crate::gateway::ConfigError;
use crate::target::Target;

/// What the environment says about proxies; read when a configuration is made, judged when it is checked, because only
/// then is it known where it leads.
#[derive(Clone)]
pub(crate) struct ProxyVars {
    https: Option<Variable>,
    http: Option<Variable>,
    all: Option<Variable>,
    no: String,
}

/// A variable's name, and its value, which may hold a password.
type Variable = (&'static str, Zeroizing<String>);

impl ProxyVars {
    /// Reads `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, where the name in lower case goes first, as every
    /// tool has it. Empty is the same as not set.
    pub(crate) fn read(lookup: impl Fn(&'static str) -> Result<Option<String>, String>) -> Result<Self, ConfigError> {
        let get = |names: [&'static str; 2]| -> Result<Option<Variable>, ConfigError> {
            for name in names {
                let value = lookup(name).map_err(|problem| ConfigError::Variable { name, problem })?;
                if let Some(value) = value.filter(|value| !value.trim().is_empty()) {
                    return Ok(Some((name, Zeroizing::new(value))));
                }
            }
            Ok(None)
        };
        // In a CGI program HTTP_PROXY is the client's header `Proxy`.
        let cgi = lookup("REQUEST_METHOD").is_ok_and(|method| method.is_some());
        Ok(Self {
            https: get(["https_proxy", "HTTPS_PROXY"])?,
            http: get(["http_proxy", if cgi { "http_proxy" } else { "HTTP_PROXY" }])?,
            all: get(["all_proxy", "ALL_PROXY"])?,
            no: get(["no_proxy", "NO_PROXY"])?.map_or(String::new(), |(_, value)| value.to_string()),
        })
    }

    /// The proxy on the way to a target, if there is one.
    pub(crate) fn proxy_for(&self, target: &Target) -> Result<Option<Proxy>, ConfigError> {
        let scheme = if target.is_tls() { &self.https } else { &self.http };
        let Some((name, value)) = scheme.as_ref().or(self.all.as_ref()) else { return Ok(None) };
        if bypasses(&self.no, target.host(), target.port()) {
            return Ok(None);
        }
        let proxy = Proxy::parse(value);
        proxy.map(Some).map_err(|error| ConfigError::Variable { name, problem: error.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(vars: &[(&str, &str)], url: &str) -> Result<Option<String>, String> {
        let lookup = |name: &'static str| Ok(vars.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string()));
        let proxy = ProxyVars::read(lookup).unwrap().proxy_for(&Target::parse(url).unwrap());
        proxy.map(|proxy| proxy.map(|proxy| proxy.to_string())).map_err(|error| error.to_string())
    }

    // proves: DIAL-6
    #[test]
    fn the_scheme_picks_the_variable() {
        let all = [("HTTPS_PROXY", "s:1"), ("HTTP_PROXY", "p:1"), ("ALL_PROXY", "a:1")];
        assert_eq!(proxy(&all, "https://c.example"), Ok(Some("http://s:1".into())));
        assert_eq!(proxy(&all, "http://c.example"), Ok(Some("http://p:1".into())));
        assert_eq!(proxy(&all[2..], "http://c.example"), Ok(Some("http://a:1".into())));
        assert_eq!(proxy(&all[..1], "http://c.example"), Ok(None));
        assert_eq!(
            proxy(&[all[0], ("https_proxy", "lower:1")], "https://c.example"),
            Ok(Some("http://lower:1".into()))
        );
        assert_eq!(proxy(&[all[0], ("https_proxy", " ")], "https://c.example"), Ok(Some("http://s:1".into())));
    }

    // proves: DIAL-6
    #[test]
    fn no_proxy_and_loopback_go_straight() {
        let vars = [("HTTPS_PROXY", "s:1"), ("HTTP_PROXY", "p:1"), ("NO_PROXY", "c.example,10.0.0.0/8")];
        assert_eq!(proxy(&vars, "https://c.example"), Ok(None));
        assert_eq!(proxy(&vars, "https://10.1.1.1"), Ok(None));
        assert_eq!(proxy(&vars, "http://127.0.0.1:8080"), Ok(None));
        assert_eq!(proxy(&vars, "https://d.example"), Ok(Some("http://s:1".into())));
    }

    #[test]
    fn an_error_names_the_variable_and_no_password() {
        let error = proxy(&[("ALL_PROXY", "socks5://u:s3cr3t@p:1")], "https://c.example").unwrap_err();
        assert!(error.starts_with("ALL_PROXY: ") && error.contains("socks5") && !error.contains("s3cr3t"), "{error}");
        // Judged only when it would be used.
        assert_eq!(proxy(&[("ALL_PROXY", "socks5://p"), ("NO_PROXY", "*")], "https://c.example"), Ok(None));
    }

    #[test]
    fn a_cgi_program_ignores_the_clients_header() {
        let vars = [("HTTP_PROXY", "evil:1"), ("REQUEST_METHOD", "GET")];
        assert_eq!(proxy(&vars, "http://c.example"), Ok(None));
    }
}
