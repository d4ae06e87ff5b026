//! The story: eight scenes, each of which checks what it says.

use relay_proto::connector::Event as Seen;
use relay_tokio::{Cause, Delivery, Event, IdleOutcome, NotSent, RequestError, State};

use super::stage::{CHAT, ID, Stage, delivered, dials, message, story};
use super::{Failure, say};

/// Tells it, from the first dial to the revocation.
pub(super) async fn tell() -> Result<(), Failure> {
    say("relay demo: the life of a gateway, against an embedded connector, over real sockets\n")?;
    let mut stage = Stage::set().await?;
    say(&format!("The connector listens on {}. The gateway `{ID}` dials it.", stage.url()))?;
    handshake(&mut stage).await?;
    stranger(&stage).await?;
    answer(&mut stage).await?;
    let held = cut(&mut stage).await?;
    replay(&mut stage, held).await?;
    stop(&mut stage).await?;
    sleep(&mut stage).await?;
    revoke(&mut stage).await?;
    say("\nThat was the story: every line above was checked as it happened.")
}

async fn handshake(stage: &mut Stage) -> Result<(), Failure> {
    say("\n1. Handshake")?;
    let Seen::Hello(identity) = stage.next_seen(|seen| matches!(seen, Seen::Hello(_))).await? else {
        return unexpected();
    };
    ok("the upgrade carried a fresh token, which the connector verified")?;
    let Event::Ready { descriptor } = stage.next_event(|event| matches!(event, Event::Ready { .. })).await? else {
        return unexpected();
    };
    check(descriptor.platform == identity.platform && descriptor.max_message_length == 2000, "the descriptor")?;
    ok(&format!(
        "hello for {} was answered with its descriptor: messages of up to {} {}",
        identity.platform, descriptor.max_message_length, descriptor.len_unit
    ))
}

async fn stranger(stage: &Stage) -> Result<(), Failure> {
    say("\n2. Unauthorized")?;
    let config = dials(&stage.connector).credentials(ID, "not the secret").reconnect(false);
    let (_gateway, mut events) = relay_tokio::connect(config).map_err(story("the stranger does not start"))?;
    let Some(Event::Disconnected { ended, .. }) = events.next().await else { return unexpected() };
    check(ended.cause == Cause::Unauthorized && ended.code == Some(4401), "the refusal")?;
    ok(&format!("a gateway with another secret is refused: {ended}"))
}

async fn answer(stage: &mut Stage) -> Result<(), Failure> {
    say("\n3. A message, and its answer")?;
    let entry = stage.deliver(1, "what is the answer?").await?;
    let delivery = stage.next_message().await?;
    let Some(question) = delivery.message() else { return unexpected() };
    ok(&format!("{} wrote: {}", question.user_name().unwrap_or("?"), question.text()))?;
    let gateway = stage.gateway.clone();
    let (reply, outbound) = tokio::join!(gateway.reply(question, "42"), stage.answer_next("m2"));
    let outbound = outbound?;
    let reply = reply.map_err(story("the reply failed"))?;
    check(outbound.contains("\"content\":\"42\""), "what the connector was asked to send")?;
    ok(&format!(
        "the agent's reply went out while it still handled the message, and was delivered as {}",
        reply.message_id.as_deref().unwrap_or("?")
    ))?;
    check(stage.peer().buffered() == 1, "the buffer before the ack")?;
    delivery.ack();
    stage.next_seen(|seen| *seen == Seen::Acked(entry)).await?;
    check(stage.peer().buffered() == 0, "the buffer after the ack")?;
    ok("the message left the connector's buffer only when the agent had taken it")
}

/// Cuts the link under a request, while a delivery is being handled, which is returned.
async fn cut(stage: &mut Stage) -> Result<Delivery, Failure> {
    say("\n4. A link is lost")?;
    stage.deliver(3, "remember the milk").await?;
    let held = stage.next_message().await?;
    // The next dial waits for the story.
    stage.gateway.hold_redial();
    let gateway = stage.gateway.clone();
    let (request, seen) = tokio::join!(gateway.send(CHAT, "a list, to begin with"), async {
        let seen = stage.next_seen(|seen| matches!(seen, Seen::Outbound(_))).await;
        stage.peer().drop_link();
        seen
    });
    seen?;
    match request {
        Err(error @ RequestError::Ambiguous(_)) => {
            check(error.is_ambiguous() && !error.is_retryable(), "what the error says of itself")?;
            ok(&format!("the link was cut under a request, which ended at once: {error}"))?;
        }
        other => return Err(Failure::Story(format!("the request ended as {other:?}"))),
    }
    let Event::Disconnected { ended, .. } =
        stage.next_event(|event| matches!(event, Event::Disconnected { .. })).await?
    else {
        return unexpected();
    };
    check(ended.cause == Cause::Lost, "the cause")?;
    ok(&format!("the end of the link has its cause: {ended}"))?;
    match stage.gateway.send(CHAT, "too early").await {
        Err(RequestError::NotSent(NotSent::NoLink)) => ok("a request without a link fails at once, as not sent")?,
        other => return Err(Failure::Story(format!("a request without a link ended as {other:?}"))),
    }
    Ok(held)
}

async fn replay(stage: &mut Stage, held: Delivery) -> Result<(), Failure> {
    say("\n5. Replay")?;
    let late = stage.deliver(4, "and the bread").await?;
    check(!stage.peer().is_linked() && stage.peer().buffered() == 2, "the buffer while the link was down")?;
    ok("two messages wait: one that was not acknowledged before the cut, and one that came after it")?;
    stage.gateway.wake();
    let shown = stage.next_message().await?;
    check(says(&shown, "and the bread"), "what is shown after the replay")?;
    check(stage.gateway.stats().replays_suppressed == 1, "the replay")?;
    ok("both were sent on the new link; the first was a replay, and not shown twice")?;
    shown.ack();
    held.ack();
    stage.next_seen(|seen| *seen == Seen::Acked(late)).await?;
    check(stage.peer().buffered() == 0 && stage.peer().stats().stray_acks == 0, "the buffer after the replay")?;
    ok("both are acknowledged, once, in the order in which they arrived")
}

async fn stop(stage: &mut Stage) -> Result<(), Failure> {
    say("\n6. Interrupt, both ways")?;
    let session = format!("agent:main:discord:dm:{CHAT}");
    stage.peer().interrupt(&session, CHAT).map_err(story("the interrupt"))?;
    let Event::Interrupt(interrupt) = stage.next_event(|event| matches!(event, Event::Interrupt(_))).await? else {
        return unexpected();
    };
    check(interrupt.session_key == session, "the session")?;
    ok(&format!("a user stopped {}", interrupt.session_key))?;
    stage.gateway.interrupt(&session, Some("done")).map_err(story("the interrupt back"))?;
    stage.next_seen(|seen| matches!(seen, Seen::Interrupt { .. })).await?;
    ok("the agent stopped it, too")
}

async fn sleep(stage: &mut Stage) -> Result<(), Failure> {
    say("\n7. Idle, and dormant")?;
    stage.gateway.hold_redial();
    let idle = stage.gateway.go_dormant().await;
    check(idle == IdleOutcome::Acknowledged, "going idle")?;
    stage.next_event(|event| matches!(event, Event::Disconnected { .. })).await?;
    check(stage.gateway.state() == State::Dormant, "the state of a sleeping gateway")?;
    ok("the connector acknowledged that the gateway went idle; only then the link was closed")?;
    let entry = stage.deliver(5, "are you asleep?").await?;
    check(stage.peer().buffered() == 1, "the buffer of a sleeping gateway")?;
    ok("a message waits in the buffer")?;
    stage.gateway.wake();
    let message = stage.next_message().await?;
    check(says(&message, "are you asleep?"), "the first message after waking")?;
    message.ack();
    stage.next_seen(|seen| *seen == Seen::Acked(entry)).await?;
    ok("woken, the gateway got it: nothing was lost")
}

async fn revoke(stage: &mut Stage) -> Result<(), Failure> {
    say("\n8. Revoked")?;
    check(stage.peer().revoke(), "a link to revoke")?;
    let Event::Revoked { ended } = stage.next_event(|event| matches!(event, Event::Revoked { .. })).await? else {
        return unexpected();
    };
    ok(&format!("the secret was revoked: {ended}"))?;
    check(stage.gateway.state() == State::Revoked && stage.events.next().await.is_none(), "the terminal state")?;
    match stage.gateway.send(CHAT, "hello?").await {
        Err(RequestError::NotSent(NotSent::Revoked)) => {
            ok("that is the end: no dial follows, and requests are refused")
        }
        other => Err(Failure::Story(format!("a request after the revocation ended as {other:?}"))),
    }
}

impl Stage {
    /// A message of the story's one user.
    async fn deliver(&self, id: u64, text: &str) -> Result<relay_connector::EntryId, Failure> {
        let event = message("ann", id, text)?;
        self.peer().deliver(&event).await.map_err(story("the connector did not take a message"))
    }

    /// The gateway's next event of a kind; those before it are passed over.
    async fn next_event(&mut self, is: impl Fn(&Event) -> bool) -> Result<Event, Failure> {
        while let Some(event) = self.events.next().await {
            if is(&event) {
                return Ok(event);
            }
        }
        Err(Failure::Story("the gateway's events ended".into()))
    }

    /// The gateway's next delivery. This story's connector delivers nothing but messages.
    async fn next_message(&mut self) -> Result<Delivery, Failure> {
        match self.next_event(|event| matches!(event, Event::Delivery(_))).await? {
            Event::Delivery(delivery) => Ok(delivery),
            _ => unexpected(),
        }
    }

    /// What the connector sees next of a kind.
    async fn next_seen(&mut self, is: impl Fn(&Seen) -> bool) -> Result<Seen, Failure> {
        while let Some((_, seen)) = self.connector_events.next().await {
            if is(&seen) {
                return Ok(seen);
            }
        }
        Err(Failure::Story("the connector's events ended".into()))
    }

    /// Carries out the next request, which is returned.
    async fn answer_next(&mut self, message_id: &str) -> Result<String, Failure> {
        let Seen::Outbound(outbound) = self.next_seen(|seen| matches!(seen, Seen::Outbound(_))).await? else {
            return unexpected();
        };
        let result = delivered(message_id)?;
        self.peer().answer(outbound.id, &result).map_err(story("the connector could not answer"))?;
        Ok(outbound.action.as_str().to_owned())
    }
}

fn says(delivery: &Delivery, text: &str) -> bool {
    delivery.message().is_some_and(|message| message.text() == text)
}

fn ok(line: &str) -> Result<(), Failure> {
    say(&format!("   ok  {line}"))
}

fn check(holds: bool, what: &str) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(Failure::Story(format!("{what} is not as it should be"))) }
}

fn unexpected<T>() -> Result<T, Failure> {
    Err(Failure::Story("an event of another kind came".into()))
}
