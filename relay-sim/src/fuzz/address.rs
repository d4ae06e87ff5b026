//! Addresses: what is derived is stable and can be written into a request, and nothing shows a password.

use relay_proto::end::LinkEnd;
use relay_proto::gateway::{Config, ConfigError};
use relay_proto::proxy::Proxy;
use relay_proto::target::Target;
use relay_proto::wire::{ClientLink, LinkOptions, ServerEvent, ServerLink, UpgradeRequest};

use super::input::Input;

/// Stands for `~` in an address: long enough to be found wherever it shows.
const PASSWORD: &str = "hunter2-correct-horse";

/// A byte for the kind, and lines: a target's address and a bearer token; or a proxy's; or a target's and a proxy's with
/// a list of hosts that need none.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() % 3 {
        0 => target(&input.text(), &input.text()),
        1 => drop(proxy(&input.text())),
        _ => no_proxy(&input.text(), &input.text(), &input.text()),
    }
}

fn target(text: &str, token: &str) {
    let url = with_password(text);
    let target = match Target::parse(&url) {
        Ok(target) => target,
        Err(error) => return hides(&format!("{error} {error:?}")),
    };
    hides(&format!("{target} {target:?}"));
    assert_eq!(Target::parse(target.url()).as_ref(), Ok(&target), "deriving twice is deriving once");
    // Without its user information, what is shown is the address.
    let shown = Target::parse(&target.to_string().replacen("***@", "", 1)).unwrap();
    assert_eq!(
        (shown.host(), shown.port(), shown.path_and_query()),
        (target.host(), target.port(), target.path_and_query())
    );
    let path = target.path_and_query();
    assert!(path.starts_with('/') && path.split('?').next().unwrap().ends_with("/relay"), "{path}");
    assert!(path.bytes().all(|byte| byte.is_ascii_graphic()), "{path}");
    assert!(target.port() > 0 && !target.host().is_empty());
    if !target.is_tls() {
        asked(&target, token);
    }
}

/// What a connector reads is what the address and the token say.
fn asked(target: &Target, token: &str) {
    let token = Some(token).filter(|token| !token.is_empty());
    let (mut gateway, mut connector, request) = match ask(target, token) {
        Ok(asked) => asked,
        Err(end) => {
            let token = token.expect("every address can be asked for");
            assert!(!token.bytes().all(|byte| byte.is_ascii_graphic()) || token.len() > 1024, "{end:?}");
            assert_eq!(Err(end), ask(target, Some(" ")).map(drop), "it shows of the token that it is bad");
            return;
        }
    };
    let query = request.query().map(|query| format!("?{query}")).unwrap_or_default();
    assert_eq!(format!("{}{query}", request.path()), target.path_and_query());
    assert_eq!((request.host(), request.bearer()), (target.host_header().as_str(), token));
    if token.is_some() {
        let (_, _, other) = ask(target, Some("other")).unwrap();
        assert_eq!(format!("{request:?}"), format!("{other:?}"), "it shows of the token that there is one");
    }
    connector.accept();
    gateway.handle_bytes(connector.transmit());
    assert!(gateway.is_open());
}

/// Both ends, and the request for an upgrade.
fn ask(target: &Target, token: Option<&str>) -> Result<(ClientLink, ServerLink, UpgradeRequest), LinkEnd> {
    let options = LinkOptions::default();
    let gateway = ClientLink::new(target, token, &options, None)?;
    let mut connector = ServerLink::new(&options, None)?;
    connector.handle_bytes(gateway.transmit());
    match connector.poll_event() {
        Some(ServerEvent::Request(request)) => Ok((gateway, connector, request)),
        event => panic!("{target} is asked for, and {event:?}"),
    }
}

fn proxy(text: &str) -> Option<Proxy> {
    let address = with_password(text);
    let proxy = match Proxy::parse(&address) {
        Ok(proxy) => proxy,
        Err(error) => {
            hides(&format!("{error} {error:?}"));
            return None;
        }
    };
    hides(&format!("{proxy} {proxy:?}"));
    let shown = Proxy::parse(&proxy.to_string().replacen("***@", "", 1)).unwrap();
    assert_eq!((shown.host(), shown.port()), (proxy.host(), proxy.port()));
    assert_eq!(shown.is_loopback(), proxy.is_loopback());
    assert!(proxy.port() > 0 && !proxy.host().is_empty());
    Some(proxy)
}

/// Which way an address is reached does not depend on how the list is written, and loopback is always near.
fn no_proxy(url: &str, address: &str, list: &str) {
    let Ok(target) = Target::parse(url) else { return };
    let way = |list: &str| {
        let config = Config::from_vars(|name| {
            Ok(match name {
                "GATEWAY_RELAY_URL" => Some(url.into()),
                "GATEWAY_RELAY_PLATFORMS" => Some("p".into()),
                "ALL_PROXY" => Some(address.into()),
                "NO_PROXY" => Some(list.into()),
                _ => None,
            })
        });
        match config.unwrap().build() {
            Ok(settings) => Ok(settings.proxy().cloned()),
            Err(ConfigError::Variable { name: "ALL_PROXY", .. }) => Err(()),
            Err(error) => panic!("{error}"),
        }
    };
    let near = way(list) == Ok(None);
    let blank = address.trim().is_empty();
    assert!(!(target.is_loopback() || blank) || near);
    assert_eq!(way(&format!("{list},{}", target.host())), Ok(None), "a host that is named itself");
    assert_eq!(way(&format!("*,{list}")), Ok(None));
    assert_eq!(way(&format!(" ,{},, ", list.to_ascii_uppercase())) == Ok(None), near, "{list:?}");
    if !near && let Ok(found) = way(list) {
        assert_eq!(found, Proxy::parse(address).ok());
    }
}

fn with_password(text: &str) -> String {
    // A fuzzer learns the password, and writes it where it is none.
    text.replace(PASSWORD, "").replace(":~@", &format!(":{PASSWORD}@"))
}

fn hides(shown: &str) {
    assert!(!shown.contains(PASSWORD), "{shown}");
}
