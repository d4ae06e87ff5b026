//! The prompt after the story: the user plays the chat platform.

use std::io::{self, BufRead as _};

use relay_proto::connector::Event as Seen;
use relay_tokio::{Event, Gateway, IdleOutcome, State};
use tokio::sync::mpsc;

use super::stage::{CHAT, Stage, delivered, message, story};
use super::{Failure, say};

const HELP: &str = "\
You are the chat platform now. Write something: the connector delivers it, and
the agent answers.
  /cut     cut the link: the gateway dials again, and what was not acknowledged
           is replayed
  /sleep   the gateway goes idle, and then dormant; what you write waits
  /wake    it dials again
  /stop    interrupt the agent's session
  /revoke  revoke the gateway's secret: the end
  /help    this list
  /quit    leave";

/// Plays until the user leaves.
pub(super) async fn play() -> Result<(), Failure> {
    let Stage { connector, mut connector_events, gateway, events } = Stage::set().await?;
    say(&format!("\n{HELP}\n"))?;
    let peer = connector.gateway(super::stage::ID);
    tokio::spawn(agent(gateway.clone(), events));
    let mut lines = lines()?;
    let mut written = 100;
    let mut revoked = false;
    loop {
        let line = tokio::select! {
            line = lines.recv() => line,
            seen = connector_events.next() => {
                let Some((_, seen)) = seen else { return Ok(()) };
                if let Seen::Outbound(outbound) = &seen {
                    written += 1;
                    let result = delivered(&format!("m{written}"))?;
                    // A link that is gone needs no answer.
                    let _ = peer.answer(outbound.id, &result);
                }
                if let Some(line) = describe(&seen) {
                    say(&line)?;
                }
                continue;
            }
        };
        let Some(line) = line else { break };
        match line.trim() {
            "" => {}
            "/quit" | "/q" => break,
            "/cut" => say(if peer.drop_link() { "  [cut]" } else { "  [there is no link to cut]" })?,
            command @ ("/wake" | "/stop" | "/sleep" | "/revoke") if revoked => {
                say(&format!("  [{command}: the gateway is revoked, and stays so; /quit leaves]"))?;
            }
            "/sleep" => {
                if gateway.state() != State::Ready {
                    say("  [it cannot sleep without a link]")?;
                    continue;
                }
                gateway.hold_redial();
                if gateway.go_dormant().await == IdleOutcome::Acknowledged {
                    say("  [asleep; /wake wakes it, and so does a minute]")?;
                } else {
                    gateway.release_redial();
                    say("  [it did not fall asleep]")?;
                }
            }
            "/help" | "/?" => say(HELP)?,
            "/wake" => gateway.wake(),
            "/stop" => {
                let session = format!("agent:main:discord:dm:{CHAT}");
                if let Err(refused) = peer.interrupt(&session, CHAT) {
                    say(&format!("  [{refused}]"))?;
                }
            }
            "/revoke" => {
                peer.revoke();
                revoked = true;
            }
            other if other.starts_with('/') => say(&format!("  [there is no {other}; /help lists what there is]"))?,
            _ if revoked => say("  [not delivered: the gateway is revoked, and dials no more; /quit leaves]")?,
            text => {
                if !peer.is_linked() || gateway.state() != State::Ready {
                    say("  [it waits in the connector's buffer: there is no link]")?;
                }
                written += 1;
                peer.deliver(&message("you", written, text)?).await.map_err(story("not taken"))?;
            }
        }
    }
    gateway.close().await;
    connector.shutdown().await;
    Ok(())
}

/// The smallest agent: it repeats what it is told.
async fn agent(gateway: Gateway, mut events: relay_tokio::Events) {
    while let Some(event) = events.next().await {
        let said = match event {
            Event::Delivery(delivery) => {
                let Some(message) = delivery.message() else {
                    delivery.ack();
                    continue;
                };
                match gateway.reply(message, &format!("you said: {}", message.text())).await {
                    Ok(_) => {
                        delivery.ack();
                        continue;
                    }
                    Err(error) => {
                        delivery.nack(); // The next link brings it again.
                        format!("  [the reply failed: {error}]")
                    }
                }
            }
            Event::Ready { .. } => "  [gateway: ready]".to_owned(),
            Event::Disconnected { ended, retry_in } => {
                let next = retry_in.map_or("no dial follows".to_owned(), |wait| format!("next dial in {wait:.1?}"));
                format!("  [gateway: disconnected: {ended}; {next}]")
            }
            Event::Interrupt(interrupt) => format!("  [gateway: told to stop {}]", interrupt.session_key),
            Event::Idle => "  [gateway: idle]".to_owned(),
            Event::Revoked { .. } => "  [gateway: revoked: it dials no more; /quit leaves]".to_owned(),
            _ => continue,
        };
        if say(&said).is_err() {
            return;
        }
    }
}

fn describe(seen: &Seen) -> Option<String> {
    match seen {
        Seen::Outbound(outbound) => {
            let action: serde_json::Value = outbound.action.read().ok()?;
            Some(format!("bot: {}", action.get("content")?.as_str()?))
        }
        Seen::Acked(entry) => Some(format!("  [connector: {entry} acknowledged]")),
        Seen::LinkEnded { .. } => Some("  [connector: the link ended]".to_owned()),
        _ => None,
    }
}

/// The lines of standard input. A thread reads them, since a terminal cannot be waited for otherwise; it ends with the
/// process.
fn lines() -> io::Result<mpsc::Receiver<String>> {
    let (send, receive) = mpsc::channel(1);
    std::thread::Builder::new().name("relay-input".into()).spawn(move || {
        // A terminal can send what is not UTF-8, which is no reason to leave.
        for line in std::io::stdin().lock().split(b'\n') {
            let Ok(line) = line else { return };
            if send.blocking_send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    })?;
    Ok(receive)
}
