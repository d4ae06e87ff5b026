//! The host of a gateway: what `wire::GatewayIo` and a runtime are, over the world's connections.

use relay_proto::end::LinkEnd;
use relay_proto::gateway::{Dial, LinkId, LinkRequest, Machine, Notice, Output, State, Transmit};

use super::codec::{End, Heard};
use super::coverage::Hard;
use super::judge::{RetryDelay, Verdict, retry_delay};
use super::network::{Conn, Pipe, Tail, TokenFacts, Way};
use super::plan::mix;
use super::world::{Ev, Read, World};
use super::{Check, Nanos, SECOND, violated};

/// The host: what `wire::GatewayIo` and a runtime are, over the world's connections.
impl World {
    /// Lets a gateway do everything that it can do now.
    pub(super) fn run_gateway(&mut self, index: usize) -> Check {
        self.run_gateway_late(index)?;
        if self.gateways[index].is_awake() { self.check_gateway(index) } else { Ok(()) }
    }

    /// The same for a gateway whose deadlines may have passed while it slept.
    pub(super) fn run_gateway_late(&mut self, index: usize) -> Check {
        while self.gateways[index].is_awake() {
            self.settle_gateway(index)?;
            if !self.gateways[index].is_awake() || !self.read_gateway(index)? {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn settle_gateway(&mut self, index: usize) -> Check {
        loop {
            let mut moved = false;
            while let Some(output) = self.gateways[index].machine.as_mut().and_then(Machine::poll_output) {
                moved = true;
                self.gateway_output(index, output)?;
            }
            if let Some(conn) = self.gateways[index].conn {
                moved |= self.send_frames(index, conn)?;
                moved |= self.write(conn, Way::Up);
            }
            moved |= self.read_events(index)?;
            if !moved {
                return Ok(());
            }
        }
    }

    /// Takes frames from the machine while little waits for the socket.
    pub(super) fn send_frames(&mut self, index: usize, conn: usize) -> Result<bool, super::Violation> {
        let mut moved = false;
        loop {
            let gateway = &mut self.gateways[index];
            let (Some(machine), Some(client)) = (&mut gateway.machine, &self.conns[conn].client) else { break };
            if self.conns[conn].up.fails(self.now) || client.transmit().len() >= gateway.shape.enough {
                break;
            }
            let Some(transmit) = machine.poll_transmit(self.conns[conn].link) else { break };
            moved = true;
            self.gateway_transmit(index, conn, transmit)?;
        }
        Ok(moved)
    }

    /// Reads one piece of what has arrived. Whether there was one.
    pub(super) fn read_gateway(&mut self, index: usize) -> Result<bool, super::Violation> {
        let gateway = &self.gateways[index];
        let (Some(conn), Some(machine)) = (gateway.conn, &gateway.machine) else { return Ok(false) };
        if self.conns[conn].client.is_none() {
            return Ok(false);
        }
        if !machine.wants_read() {
            if machine.state() == State::Ready {
                self.coverage.hit(Hard::ReadingPaused);
            }
            return Ok(false);
        }
        let Some(read) = self.read(conn, Way::Down) else { return Ok(false) };
        match read {
            Read::Bytes(bytes) => {
                let link = self.conns[conn].link;
                let now = self.gateways[index].clock.monotonic(self.now);
                self.gateways[index].silence.broken(now);
                self.command(index, |machine, now| machine.handle_traffic(link, now))?;
                self.on_client(index, conn, |client| client.handle_bytes(&bytes))?;
            }
            Read::Tail(Tail::Eof) => self.on_client(index, conn, End::handle_eof)?,
            Read::Tail(Tail::Reset) => self.on_client(index, conn, |client| client.handle_read_error("reset"))?,
        }
        Ok(true)
    }

    pub(super) fn on_client(&mut self, index: usize, conn: usize, input: impl FnOnce(&mut End)) -> Check {
        if let Some(client) = &mut self.conns[conn].client {
            input(client);
        }
        while self.gateways[index].conn == Some(conn) {
            let Some(heard) = self.conns[conn].client.as_mut().and_then(End::poll) else { break };
            let link = self.conns[conn].link;
            match heard {
                Heard::Opened => self.command(index, |machine, now| machine.handle_opened(link, now))?,
                Heard::Message(bytes) => {
                    self.command(index, |machine, now| machine.handle_message(link, &bytes, now))?
                }
                Heard::Ended(end) => self.link_ended(index, conn, end)?,
                Heard::Pong(_) => {}
                Heard::Request(_) => return violated("SIMULATION", "a request from a connector"),
            }
            self.drain_gateway(index)?;
        }
        Ok(())
    }

    pub(super) fn drain_gateway(&mut self, index: usize) -> Check {
        while let Some(output) = self.gateways[index].machine.as_mut().and_then(Machine::poll_output) {
            self.gateway_output(index, output)?;
        }
        Ok(())
    }

    pub(super) fn tcp_connected(&mut self, conn: usize) -> Check {
        let index = self.conns[conn].gateway;
        let gateway = &self.gateways[index];
        if gateway.conn != Some(conn) || self.conns[conn].client.is_some() {
            return Ok(());
        }
        if !self.connector.up {
            return self.tcp_unreachable(conn);
        }
        if gateway.suspended.is_some() {
            // Nobody is there yet to send the request.
            self.after(SECOND, Ev::Connected(conn));
            return Ok(());
        }
        let token = self.conns[conn].token.as_ref().map(|token| token.text.clone());
        self.conns[conn].client = Some(End::client(gateway.wire, &gateway.target, token.as_deref()));
        self.note("connected", index, conn as u64, String::new);
        self.accept_connection(conn);
        self.write(conn, Way::Up);
        self.run_gateway(index)
    }

    pub(super) fn tcp_unreachable(&mut self, conn: usize) -> Check {
        let index = self.conns[conn].gateway;
        if self.gateways[index].conn != Some(conn) {
            return Ok(());
        }
        if self.gateways[index].suspended.is_some() {
            // The news waits for the machine to wake up.
            self.after(SECOND, Ev::Unreachable(conn));
            return Ok(());
        }
        self.coverage.hit(Hard::Unreachable);
        self.link_ended(index, conn, LinkEnd::Unreachable { detail: "refused".into() })?;
        self.run_gateway(index)
    }

    /// The gateway's end of a connection is closed, after one attempt to write what it has to say.
    pub(super) fn close_client(&mut self, conn: usize) {
        self.write(conn, Way::Up);
        let now = self.now;
        if self.conns[conn].client.take().is_some() {
            self.conns[conn].up.close(now);
            self.conns[conn].down.abandon(now);
            if let Some(at) = self.conns[conn].up.next() {
                self.at(at, Ev::Arrive(conn, Way::Up));
            }
        }
    }

    pub(super) fn gateway_output(&mut self, index: usize, output: Output) -> Check {
        match output {
            Output::Link(LinkRequest::Dial(dial)) => self.dial(index, dial),
            Output::Link(LinkRequest::Drop(link)) => self.drop_link(index, link),
            Output::RequestEnded { request, outcome } => self.request_ended(index, request, &outcome),
            Output::IdleEnded { idle, outcome } => self.idle_ended(index, idle, outcome),
            Output::Notice(notice) => {
                match &notice {
                    Notice::Skipped(_) => self.coverage.hit(Hard::Junk),
                    Notice::UnmatchedResult => self.coverage.hit(Hard::LateResult),
                    Notice::ReplaySuppressed(id) => self.replay_suppressed(index, id.as_str()),
                    _ => {}
                }
                self.note("notice", index, 0, || format!("{notice}"));
                Ok(())
            }
            other => violated("SIMULATION", format!("an output that nobody knows: {other:?}")),
        }
    }

    pub(super) fn dial(&mut self, index: usize, dial: Dial) -> Check {
        let at = self.now;
        let gateway = &mut self.gateways[index];
        if let Some(conn) = gateway.conn {
            return violated("DIAL-5", format!("a dial while connection {conn} is in hand"));
        }
        if gateway.dials.hold_expired(gateway.clock.monotonic(at)) {
            self.coverage.hit(Hard::HoldExpired);
        }
        gateway.dials.on_dial(gateway.clock.monotonic(at))?;
        gateway.since = gateway.clock.monotonic(at);
        let Some(token) = &dial.token else { return violated("DIAL-2", "a dial without a token") };
        let expires = token.expires_at().unwrap_or(u64::MAX);
        if expires != gateway.clock.unix(at) + gateway.shape.ttl {
            return violated(
                "DIAL-3",
                format!("a token that expires at {expires}, minted at {}", gateway.clock.unix(at)),
            );
        }
        let facts = TokenFacts { text: token.as_str().into(), secret: gateway.secret, expires };
        let (conn, process) = (self.conns.len(), gateway.process);
        (gateway.again, gateway.dormant) = (false, false);
        let deliveries = gateway.machine.as_ref().map_or(0, |machine| machine.stats().deliveries);
        gateway.unread = deliveries - gateway.popped;
        gateway.conn = Some(conn);
        gateway.dialed += 1;
        let seed = |way: u64| mix(&[gateway.seed, 5, index as u64, gateway.dialed, way]);
        let (up, down) = (Pipe::new(seed(0), self.plan.calm), Pipe::new(seed(1), self.plan.calm));
        let latency = up.latency();
        let freeze = gateway.freezes.pop();
        self.conns.push(Conn::new(index, process, dial.link, facts, (up, down)));
        self.note("dial", index, conn as u64, || format!("process {process}"));
        let reachable = self.reachable(index);
        match reachable {
            Some(true) => self.after(latency, Ev::Connected(conn)),
            Some(false) => self.after(latency, Ev::Unreachable(conn)),
            None => {}
        }
        if let Some((delay, time)) = freeze {
            self.coverage.hit(Hard::FrozenDial);
            self.after(latency * delay / 2, Ev::Freeze(index, time));
        }
        Ok(())
    }

    /// The machine drops its link, for a reason of its own.
    pub(super) fn drop_link(&mut self, index: usize, link: LinkId) -> Check {
        let at = self.now;
        let gateway = &mut self.gateways[index];
        if gateway.link(&self.conns) != Some(link) {
            return violated("DIAL-5", "a link is dropped that is not in hand");
        }
        let Some(conn) = gateway.conn.take() else { return Ok(()) };
        let now = gateway.clock.monotonic(at);
        let commanded = if gateway.again {
            RetryDelay::Now
        } else if gateway.dormant {
            RetryDelay::Dormant
        } else {
            RetryDelay::Backoff
        };
        let link = &self.conns[conn];
        let why = match link.was_ready {
            _ if gateway.closing || link.close_up => None,
            true => Some(Hard::Silent),
            false if link.peer_link.is_some() => Some(Hard::HandshakeTimedOut),
            false => Some(Hard::DialTimedOut),
        };
        if let Some(why) = why {
            self.coverage.hit(why);
        }
        let gateway = &mut self.gateways[index];
        gateway.refusals.on_drop(gateway.dials.ready_for(now));
        self.end_of_link(index, commanded, now);
        self.note("drop", index, conn as u64, || format!("{commanded:?}"));
        if let Some(client) = &mut self.conns[conn].client {
            client.close(1000, "");
        }
        self.close_client(conn);
        Ok(())
    }

    /// The link, or the dial, ended, and the machine is told.
    pub(super) fn link_ended(&mut self, index: usize, conn: usize, end: LinkEnd) -> Check {
        let at = self.now;
        let gateway = &mut self.gateways[index];
        let (now, unix) = (gateway.clock.monotonic(at), gateway.clock.unix(at));
        let was_ready = self.conns[conn].was_ready;
        let stale = !was_ready && self.conns[conn].token.as_ref().is_some_and(|token| unix > token.expires);
        let (greeted, deciding) = (gateway.refusals.greeted, gateway.refusals.deciding);
        let ready_for = gateway.dials.ready_for(now);
        let verdict = gateway.refusals.judge(&end, ready_for, stale, gateway.shape.confirm_refusals);
        let is_slow = retry_delay(&end) == RetryDelay::Slow;
        let is_news = verdict.is_some() || is_slow;
        let delay = match verdict {
            Some(Verdict::Provisional) => RetryDelay::Now,
            Some(_) => RetryDelay::Backoff,
            None if is_slow => RetryDelay::Slow,
            None if gateway.again => RetryDelay::Now,
            None if gateway.dormant => RetryDelay::Dormant,
            None => RetryDelay::Backoff,
        };
        match (&end, verdict) {
            (_, Some(Verdict::Retry)) if !greeted => self.coverage.hit(Hard::RefusedCold),
            (_, Some(Verdict::Retry)) if deciding && stale => self.coverage.hit(Hard::ProvisionalExpired),
            (_, Some(Verdict::Retry)) => self.coverage.hit(Hard::RefusedExpired),
            (_, Some(Verdict::Provisional)) => self.coverage.hit(Hard::Provisional),
            (_, Some(Verdict::Revoked)) => {
                self.coverage.hit(Hard::Revoked);
                if deciding {
                    self.coverage.hit(Hard::ProvisionalRevoked);
                }
                if was_ready {
                    self.coverage.hit(Hard::RevokedOpenLink);
                }
            }
            (LinkEnd::Refused { .. }, None) => self.coverage.hit(Hard::Http),
            (LinkEnd::Closed { code: Some(4403), .. }, None) => self.coverage.hit(Hard::Forbidden),
            _ => {}
        }
        self.note("ended", index, conn as u64, || format!("{end:?} {verdict:?} {delay:?} news {is_news}"));
        let gateway = &mut self.gateways[index];
        if gateway.again && delay == RetryDelay::Now {
            self.coverage.hit(Hard::Reconnected);
        }
        gateway.conn = None;
        let link = self.conns[conn].link;
        self.end_of_link(index, delay, now);
        self.command(index, |machine, now| machine.handle_ended(link, end, now))?;
        let revoked = self.gateways[index].state == State::Revoked;
        if revoked != (verdict == Some(Verdict::Revoked)) {
            return violated("AUTH-2", format!("the verdict is {verdict:?}, and revoked is {revoked}"));
        }
        self.close_client(conn);
        Ok(())
    }

    pub(super) fn end_of_link(&mut self, index: usize, delay: RetryDelay, now: Nanos) {
        let gateway = &mut self.gateways[index];
        let (longest, reset) = gateway.dials.on_end(delay, now);
        let reached = match delay {
            RetryDelay::Backoff if longest => Some(Hard::AtCap),
            RetryDelay::Slow => Some(Hard::SlowPace),
            _ => None,
        };
        if let Some(hard) = reached {
            self.coverage.hit(hard);
        }
        if reset {
            self.coverage.hit(Hard::LadderReset);
        }
    }

    /// A frame leaves the machine.
    pub(super) fn gateway_transmit(&mut self, index: usize, conn: usize, transmit: Transmit) -> Check {
        let link = &mut self.conns[conn];
        if link.close_up {
            return violated("WIRE", format!("{transmit:?} follows a close frame"));
        }
        let Some(client) = &mut link.client else { return Ok(()) };
        match transmit {
            Transmit::Text(text) => {
                if text.find('\n') != Some(text.len() - 1) {
                    return violated("FRAME-1", format!("not one line: {text:?}"));
                }
                self.trace.bytes(text.as_bytes());
                let slack = client.slack();
                if let Some(id) = text.strip_prefix("{\"type\":\"inbound_ack\",\"bufferId\":\"") {
                    let id = id.trim_end_matches("\"}\n").to_owned();
                    if !self.ack_leaves(index, conn, &id)? {
                        return Ok(());
                    }
                }
                self.note("up", index, conn as u64, || text.trim_end().to_owned());
                let request =
                    text.strip_prefix("{\"type\":\"outbound\",\"requestId\":\"").and_then(|rest| rest.get(..32));
                let request = request.map(ToOwned::to_owned);
                let link = &mut self.conns[conn];
                let Some(client) = &mut link.client else { return Ok(()) };
                client.send_text(text);
                let end = link.up.written + client.transmit().len() as u64;
                link.ends_up.push(end);
                if let Some(request) = request {
                    self.request_leaves(index, conn, &request, end - slack)?;
                }
            }
            Transmit::Ping => {
                client.ping();
                self.coverage.hit(Hard::Pinged);
                self.note("up", index, conn as u64, || "ping".into());
            }
            Transmit::Close { code, reason } => {
                client.close(code, reason);
                link.close_up = true;
                if code == 1013 {
                    self.coverage.hit(Hard::QueueFull);
                }
                self.note("up", index, conn as u64, || format!("close {code} {reason}"));
            }
            other => return violated("SIMULATION", format!("{other:?}")),
        }
        Ok(())
    }
}
