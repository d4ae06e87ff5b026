//! Enrolment: the reference's client against `relay connector`, and the reference with what `relay enroll` wrote.

use std::process::Command;

use serde_json::{Value, json};

use crate::process::Process;
use crate::python;
use crate::relay::{Connector, SECRET, relay};

/// The version whose client it is.
const REFERENCE: &str = "0.19.0";
const IDENTITY: &str = "identity-1";

/// The reference's client. `None`: there is no reference.
fn client() -> Option<Process> {
    let python = python::with_reference(REFERENCE)?;
    Some(Process::start("reference enrolment", &mut python::script(&python, "reference_enrol.py")))
}

/// A connector that enrols with the secret of the tests as its token.
fn connector() -> Connector {
    Connector::start(&["--enroll-env", "SECRET"])
}

fn enroll(client: &mut Process, connector: &Connector, token: &str) -> Value {
    client.say(&json!({"do": "enroll", "url": connector.url, "token": token, "identity": IDENTITY, "id": "gw"}));
    client.next()
}

// proves: ENROLL-1, ENROLL-5, POLICY-1
#[test]
fn the_reference_enrols_here_and_links() {
    let connector = connector();
    let Some(mut client) = client() else { return };
    let refused = enroll(&mut client, &connector, "made-up");
    assert!(refused["error"].as_str().unwrap().contains("not good for this gateway"), "{refused}");
    let done = enroll(&mut client, &connector, SECRET);
    let granted = &done["result"];
    assert_eq!((&granted["gatewayId"], &granted["tenant"]), (&json!("gw"), &json!("default")), "{done}");
    assert_eq!(connector.event("enrolled")["gateway"], "gw");

    let policy = json!({"platform": "discord", "requireAddress": true, "freeResponseScopes": ["c1"],
        "allowOtherBots": false});
    let mut tell = |secret: &Value| {
        let command = json!({"do": "policy", "url": connector.url, "id": "gw", "secret": secret, "policy": policy});
        client.say(&command);
        client.event("done")["result"].clone()
    };
    assert_eq!(tell(&json!("wrong")), 401);
    assert_eq!(tell(&granted["secret"]), 200);
    assert_eq!(connector.event("policy")["policy"], policy);

    let Some(python) = python::with_reference(REFERENCE) else { return };
    let mut gateway = python::script(&python, "reference_gateway.py");
    gateway.arg(&connector.url).env("GATEWAY_ID", "gw").env("GATEWAY_SECRET", granted["secret"].as_str().unwrap());
    let mut gateway = Process::start("reference gateway", &mut gateway);
    gateway.say(&json!({"do": "connect"}));
    gateway.event("linked");
    assert_eq!(connector.event("hello")["gateway"], "gw");
}

// proves: ENROLL-1
#[test]
fn the_reference_reads_what_is_written_here() {
    let connector = connector();
    let Some(python) = python::with_reference(REFERENCE) else { return };
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("gateway.env");
    let mut enroll = relay(&["enroll", "--url", &connector.url, "--id", "gw", "--token-env", "SECRET"]);
    enroll.args(["--platform", "discord", "--bot-id", "b1", "--platform", "telegram", "--bot-id", "b2", "--env-file"]);
    enroll.arg(&file).env("GATEWAY_RELAY_IDENTITY_TOKEN", IDENTITY);
    assert!(enroll.output().unwrap().status.success());

    let script = python::script(&python, "reference_enrol.py");
    let mut sourced = Command::new("sh");
    sourced.args(["-c", "set -a; . \"$1\"; shift; exec \"$@\"", "sh"]).arg(&file);
    sourced.arg(script.get_program()).args(script.get_args());
    for (name, value) in script.get_envs() {
        match value {
            Some(value) => sourced.env(name, value),
            None => sourced.env_remove(name),
        };
    }
    let mut reference = Process::start("reference configuration", &mut sourced);
    reference.say(&json!({"do": "configuration"}));
    let read = reference.event("done")["result"].clone();
    let text = std::fs::read_to_string(&file).unwrap();
    let secret = text.lines().find_map(|line| line.strip_prefix("GATEWAY_RELAY_SECRET=")).unwrap();
    assert_eq!(read["auth"], json!(["gw", secret]));
    assert_eq!(read["url"], connector.url.replace("http", "ws") + "/relay");
    assert_eq!(read["identities"], json!([["discord", "b1"], ["telegram", "b2"]]));
}
