//! What a configuration has to be, and how one is refused.

use super::pair::*;
use crate::frame::encode;
use crate::gateway::{Config, ConfigError, ConfigWarning, Limits, Timing};
use crate::proxy::Proxy;

fn refused(config: Config) -> ConfigError {
    config.build().unwrap_err()
}

fn limits(change: impl FnOnce(&mut Limits)) -> Config {
    let mut limits = Limits::default();
    change(&mut limits);
    config().limits(limits)
}

// proves: DIAL-5, LINK-1, LINK-3
#[test]
fn times_that_cannot_be_are_refused_by_name() {
    type Change = fn(&mut Timing);
    let zeros: [(&str, Change); 7] = [
        ("dial", |t| t.dial = secs(0)),
        ("handshake", |t| t.handshake = secs(0)),
        ("request", |t| t.request = secs(0)),
        ("idle", |t| t.idle = secs(0)),
        ("backoff_initial", |t| t.backoff_initial = secs(0)),
        ("ping_after", |t| t.ping_after = secs(0)),
        ("close", |t| t.close = secs(0)),
    ];
    for (name, change) in zeros {
        assert_eq!(refused(config().timing(timing(change))), ConfigError::ZeroTiming(name));
    }
    let orders: [(&str, Change, Change); 2] = [
        ("backoff_max", |t| t.backoff_max = t.backoff_initial, |t| t.backoff_max = t.backoff_initial - millis(1)),
        ("lost_after", |t| t.lost_after = t.ping_after + millis(1), |t| t.lost_after = t.ping_after),
    ];
    for (name, least, below) in orders {
        assert!(config().timing(timing(least)).build().is_ok(), "{name}");
        let error = refused(config().timing(timing(below)));
        assert!(matches!(error, ConfigError::Order(what) if what.contains(name)), "{error}");
    }
}

// proves: FRAME-1, FRAME-3, REQ-7
#[test]
fn sizes_that_cannot_be_are_refused_by_name() {
    type Change = fn(&mut Limits);
    let cases: [(&str, Change, Change); 8] = [
        ("limits.frame", |l| l.frame = 1024, |l| l.frame = 1023),
        (".line", |l| l.line = 1024, |l| l.line = 1023),
        (".message", |l| (l.line, l.message) = (1024, 1025), |l| (l.line, l.message) = (1024, 1023)),
        ("above limits.line", |l| l.message = l.line + 1, |l| l.message = l.line),
        (".queue", |l| l.queue = 1024, |l| l.queue = 1023),
        ("limits.line must not", |l| (l.line, l.message) = (1 << 30, 2 << 30), |l| l.line = (1 << 30) + 1),
        ("limits.queue_hard", |l| l.queue_hard = l.queue + 1, |l| l.queue_hard = l.queue),
        ("limits.replay_memory", |l| l.replay_memory = 1, |l| l.replay_memory = 0),
    ];
    for (name, good, bad) in cases {
        let settings = limits(good).build().unwrap();
        let mut expected = Limits::default();
        good(&mut expected);
        assert_eq!(*settings.limits(), expected, "{name}");
        let error = refused(limits(bad));
        assert!(matches!(error, ConfigError::Order(what) if what.contains(name)), "{name}: {error}");
    }
    // What is sent does not depend on what is received.
    assert!(limits(|l| l.frame = l.message + 1).build().is_ok());
}

// proves: HELLO-1, FRAME-1
#[test]
fn a_hello_that_is_no_frame_is_refused() {
    let hello = |platform: &str| encode::hello(platform, "b", None).trim_end().len();
    let fits = "p".repeat(1024 - hello(""));
    assert_eq!(hello(&fits), 1024);
    let with = |platform: String| limits(|l| l.frame = 1024).identity(platform, "b");
    assert!(with(fits.clone()).build().is_ok());
    let platform = fits + "p";
    let error = refused(with(platform.clone()));
    assert_eq!(error, ConfigError::HelloTooLarge { platform, size: 1025, limit: 1024 });
    assert_eq!(refused(Config::new("ws://127.0.0.1:1")), ConfigError::NoIdentity);
    assert_eq!(refused(config().identity(" ", "b")), ConfigError::BlankPlatform);
}

// proves: DIAL-2
#[test]
fn half_of_the_credentials_is_none_and_a_warning() {
    let warnings = |config: Config| {
        let settings = config.build().unwrap();
        assert_eq!(settings.is_authenticated(), settings.warnings().is_empty());
        settings.warnings().to_vec()
    };
    let bare = || Config::new("wss://connector.example").identity("discord", "b1");
    assert_eq!(warnings(bare().credentials("gw-1", SECRET)), []);
    assert_eq!(warnings(bare().credentials("gw-1", " ")), [ConfigWarning::BlankSecret]);
    assert_eq!(warnings(bare().credentials(" ", SECRET)), [ConfigWarning::SecretWithoutId]);
    assert_eq!(warnings(bare().gateway_id("gw-1")), [ConfigWarning::IdWithoutSecret]);
    assert!(bare().gateway_id(" ").build().unwrap().warnings().is_empty(), "neither is there");
}

// proves: DIAL-6
#[test]
fn it_shows_where_it_goes_and_by_what_proxy() {
    let proxy = Proxy::parse("http://proxy.example:3128").unwrap();
    let config = Config::new("wss://connector.example").identity("discord", "b1");
    assert!(config.clone().build().unwrap().proxy().is_none());
    let config = config.proxy(proxy);
    for shown in [format!("{config:?}"), format!("{:?}", config.clone().build().unwrap())] {
        assert!(shown.contains("connector.example") && shown.contains("proxy.example"), "{shown}");
    }
    let settings = config.clone().build().unwrap();
    assert_eq!(settings.proxy().map(Proxy::host), Some("proxy.example"));
    assert!(config.no_proxy().build().unwrap().proxy().is_none());
}

// proves: DIAL-2
#[test]
fn what_the_url_says_and_nothing_uses_is_a_warning() {
    let config = |url: &str| Config::new(url).identity("discord", "b1").credentials("gw-1", SECRET).build().unwrap();
    assert_eq!(config("wss://ann:hunter2@connector.example").warnings(), [ConfigWarning::UserInUrl]);
    assert_eq!(config("wss://connector.example/?at=a%40b").warnings(), []);
}

#[test]
fn a_clone_keeps_what_was_said() {
    let said = timing(|t| t.dial = secs(3));
    let original = limits(|l| l.replay_memory = 9).timing(said);
    let settings = original.clone().build().unwrap();
    assert_eq!(settings.limits().replay_memory, 9);
    assert_eq!(settings.timing.dial, secs(3));
    assert_eq!(settings.clone().limits().replay_memory, 9);
}
