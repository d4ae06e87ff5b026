//! How messages are cut into sessions, which a stop names by their keys.

use serde_json::json;

use crate::connector::Connector;
use crate::process::{Relay, command};

/// The session keys of three messages: to a profile in a group, to the profile `main`, and in a thread.
fn keys(connector: &Connector, command: std::process::Command) -> Vec<String> {
    let relay = Relay::start_command(command);
    let mut peer = connector.ready(&["discord"]);
    relay.event("ready");
    let base = json!({"platform": "discord", "chat_id": "7", "chat_type": "group", "user_id": "u"});
    let mut key = |more: &[(&str, &str)]| {
        let mut source = base.clone();
        for (name, value) in more {
            source[name] = json!(value);
        }
        peer.send(&json!({"type": "inbound", "event": {"text": "hi", "source": source}}));
        let key = relay.event("message")["session_key"].as_str().unwrap().to_owned();
        // As the connector makes it: it comes back as it is.
        peer.send(&json!({"type": "interrupt_inbound", "session_key": key, "chat_id": "7"}));
        assert_eq!(relay.event("interrupt")["session_key"], key.as_str());
        key
    };
    vec![key(&[("profile", "coder")]), key(&[("profile", "main")]), key(&[("thread_id", "t")])]
}

// proves: CHAT-5, STOP-1
#[test]
fn session_keys_are_those_of_the_connector() {
    let connector = Connector::start();
    let with = |flags: &[&str], profiles: Option<&str>| {
        let base = ["--url", &connector.url, "--platform", "discord"];
        let mut command = command(&[&base[..], flags].concat());
        command.env_remove("GATEWAY_MULTIPLEX_PROFILES");
        if let Some(profiles) = profiles {
            command.env("GATEWAY_MULTIPLEX_PROFILES", profiles);
        }
        command
    };
    let [plain, coder, main] = ["main", "coder", "main~"].map(|name| format!("agent:{name}:discord:group:7"));
    let own = |chat: &str| format!("{chat}:u");
    let thread = format!("{plain}:t");
    for (flags, variable, expected) in [
        (&[][..], None, [own(&plain), own(&plain), thread.clone()]),
        (&["--profiles"], None, [own(&coder), own(&main), thread.clone()]),
        (&[], Some("true"), [own(&coder), own(&main), thread.clone()]),
        (&["--profiles=false"], Some("true"), [own(&plain), own(&plain), thread.clone()]),
        (&["--shared-groups"], None, [plain.clone(), plain.clone(), thread.clone()]),
        (&["--per-user-threads"], None, [own(&plain), own(&plain), own(&thread)]),
    ] {
        assert_eq!(keys(&connector, with(flags, variable)), expected, "{flags:?} {variable:?}");
    }
    let (events, stderr, code) = Relay::start_command(with(&[], Some("perhaps"))).end();
    assert!(events.is_empty() && code == 2 && stderr.contains("GATEWAY_MULTIPLEX_PROFILES"), "{stderr}");
}

// proves: CHAT-5
#[test]
fn a_file_of_variables_says_whether_profiles_have_sessions_of_their_own() {
    let connector = Connector::start();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gateway.env");
    let text = format!(
        "GATEWAY_RELAY_URL={}\nGATEWAY_RELAY_PLATFORMS=discord\nGATEWAY_MULTIPLEX_PROFILES=yes\n",
        connector.url
    );
    std::fs::write(&file, text).unwrap();
    let made = keys(&connector, command(&["--env-file", file.to_str().unwrap()]));
    assert_eq!(made[0], "agent:coder:discord:group:7:u");
}
