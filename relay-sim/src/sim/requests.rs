//! The application of a gateway: its requests and commands.

use std::time::Duration;

use fastrand::Rng;
use relay_proto::frame::{RawJson, Verdict as ResultVerdict};
use relay_proto::gateway::{Ambiguous, IdleId, IdleOutcome, NotSent, Outcome, RequestId, RequestOptions, State};

use super::coverage::Hard;
use super::world::{Ev, World};
use super::{Check, SECOND, nanos, violated};

use super::gateway::{IdleCall, Request};

/// The application: requests and commands.
impl World {
    pub(super) fn request(&mut self, index: usize, rng: &mut Rng) -> Check {
        let at = self.now;
        let action = RawJson::parse(&format!("{{\"op\":\"send\",\"content\":\"{}\"}}", "y".repeat(rng.usize(..300))));
        let action = action.expect("valid JSON");
        let mut options = RequestOptions::default();
        options.timeout = [None, Some(1), Some(5), Some(100)][rng.usize(..4)].map(Duration::from_secs);
        let timeout = options.timeout.unwrap_or(self.gateways[index].shape.timing.request);
        options.wait_for_link = rng.bool();
        let patient = options.wait_for_link;
        let cancel = (rng.u32(..8) == 0).then(|| rng.u64(..SECOND * 2));
        let result = self.command(index, |machine, now| machine.request(&action, &options, now))?;
        self.note("request", index, 0, || format!("{result:?} patient {patient}, {timeout:?}"));
        let gateway = &mut self.gateways[index];
        match result {
            Ok(request) => {
                if !self.request_ids.insert(request) {
                    return violated("REQ-1", format!("request id {request} was used before"));
                }
                let deadline = gateway.clock.monotonic(at) + nanos(timeout);
                gateway.requests.insert(request, Request { patient, deadline, written: None, waited: false });
                let process = gateway.process;
                if let Some(time) = cancel {
                    self.after(time, Ev::Cancel { gateway: index, process, request });
                }
            }
            Err(why) => self.not_sent_because(&why),
        }
        Ok(())
    }

    pub(super) fn not_sent_because(&mut self, why: &NotSent) {
        let hard = match why {
            NotSent::NoLink => Hard::NotSentNoLink,
            NotSent::TimedOut => Hard::NotSentTimedOut,
            NotSent::Revoked => Hard::NotSentRevoked,
            NotSent::ShutDown => Hard::NotSentShutDown,
            _ => return,
        };
        self.coverage.hit(hard);
    }

    pub(super) fn cancel(&mut self, index: usize, process: u32, request: RequestId) -> Check {
        let gateway = &mut self.gateways[index];
        if gateway.process != process || !gateway.is_awake() {
            return Ok(());
        }
        let Some(known) = gateway.requests.remove(&request) else { return Ok(()) };
        gateway.ended.insert(request);
        let hard = if known.written.is_some() { Hard::CancelWritten } else { Hard::CancelUnwritten };
        self.coverage.hit(hard);
        self.note("cancel", index, 0, || format!("{request}"));
        self.command(index, |machine, now| machine.cancel(request, now))?;
        self.run_gateway(index)
    }

    /// The frame of a request leaves the machine.
    pub(super) fn request_leaves(&mut self, index: usize, conn: usize, id: &str, end: u64) -> Check {
        let request = self.gateways[index].requests.iter_mut().find(|(request, _)| request.to_string() == id);
        let Some((_, request)) = request else {
            return violated("REQ-3", format!("request {id} leaves, and has ended or was cancelled"));
        };
        if request.written.is_some() {
            return violated("REQ-1", format!("request {id} leaves twice"));
        }
        request.written = Some((conn, end));
        self.conns[conn].asked.push((id.to_owned(), end));
        Ok(())
    }

    pub(super) fn request_ended(&mut self, index: usize, id: RequestId, outcome: &Outcome) -> Check {
        self.note("request ended", index, 0, || format!("{id} {outcome:?}"));
        let gateway = &mut self.gateways[index];
        let Some(request) = gateway.requests.remove(&id) else {
            let again = gateway.ended.contains(&id);
            return violated("REQ-1", format!("request {id} ended; ended before or cancelled: {again}"));
        };
        gateway.ended.insert(id);
        let text = id.to_string();
        match outcome {
            Outcome::NotSent(why) => {
                if request.written.is_some() {
                    return violated("REQ-1", format!("request {id} was written, and is not sent: {why}"));
                }
                self.not_sent.insert(text);
                self.not_sent_because(why);
            }
            Outcome::Ambiguous(why) => {
                let Some((conn, end)) = request.written else {
                    return violated("REQ-1", format!("request {id} was never written, and is ambiguous"));
                };
                if self.conns[conn].up.read >= end {
                    self.coverage.hit(Hard::ReadUnanswered);
                }
                self.coverage.hit(match why {
                    Ambiguous::TimedOut => Hard::AmbiguousTimedOut,
                    Ambiguous::ShutDown => Hard::AmbiguousShutDown,
                    _ => Hard::AmbiguousLost,
                });
            }
            Outcome::Result(result) => {
                let Some((conn, _)) = request.written else {
                    return violated("REQ-3", format!("request {id} was never written, and has a result"));
                };
                if self.gateways[index].conn != Some(conn) {
                    return violated("REQ-2", format!("request {id} has a result from another link"));
                }
                let raw = result.raw.as_str();
                let by_app = raw.contains("\"r\":\"");
                if by_app != (result.verdict == ResultVerdict::Delivered) || by_app && !raw.contains(&text) {
                    return violated("REQ-6", format!("request {id} has the result {raw}"));
                }
                let done = self.connector.done.contains(&text);
                if by_app && !done || result.verdict == ResultVerdict::Rejected && done {
                    return violated("REQ-1", format!("request {id} has the result {raw}; done: {done}"));
                }
                self.coverage.hit(if by_app { Hard::Result } else { Hard::ConnectorFailed });
                if request.waited {
                    self.coverage.hit(Hard::Patient);
                }
            }
        }
        Ok(())
    }

    pub(super) fn idle(&mut self, index: usize, dormant: bool) -> Check {
        let idle =
            self.command(index, |machine, now| if dormant { machine.go_dormant(now) } else { machine.go_idle(now) })?;
        let gateway = &mut self.gateways[index];
        let since = gateway.clock.monotonic(self.now);
        gateway.idles.insert(idle, IdleCall { dormant, woken: false, since });
        self.note("go idle", index, u64::from(dormant), String::new);
        Ok(())
    }

    pub(super) fn idle_ended(&mut self, index: usize, idle: IdleId, outcome: IdleOutcome) -> Check {
        self.note("idle ended", index, 0, || format!("{outcome:?}"));
        let gateway = &mut self.gateways[index];
        let Some(IdleCall { dormant, woken, .. }) = gateway.idles.remove(&idle) else {
            return violated("IDLE-1", format!("{idle:?} ended twice, or never began"));
        };
        match outcome {
            IdleOutcome::Acknowledged => {
                let conn = gateway.conn.map(|conn| &self.conns[conn]);
                if !conn.is_some_and(|conn| conn.idle || conn.idle_unasked) {
                    return violated("IDLE-1", "acknowledged, and the connector said nothing");
                }
                if dormant && !gateway.closing {
                    // One that nobody woke puts it to sleep, whatever was to come of others.
                    gateway.again = woken && (gateway.again || !gateway.dormant);
                    gateway.dormant = true;
                    self.coverage.hit(Hard::Dormant);
                }
                self.coverage.hit(Hard::Idle);
            }
            IdleOutcome::TimedOut => self.coverage.hit(Hard::IdleTimedOut),
            IdleOutcome::NoLink => self.coverage.hit(Hard::IdleNoLink),
            other => return violated("IDLE-1", format!("{other:?}")),
        }
        Ok(())
    }

    pub(super) fn wake(&mut self, index: usize) -> Check {
        let at = self.now;
        let gateway = &mut self.gateways[index];
        if !gateway.closing {
            let now = gateway.clock.monotonic(at);
            if gateway.conn.is_none() {
                gateway.dials.demand(now);
            } else {
                gateway.dials.release(now);
            }
            for call in gateway.idles.values_mut() {
                call.woken = true;
                if call.dormant {
                    self.coverage.hit(Hard::WokenFallingAsleep);
                }
            }
            if gateway.state == State::Closing {
                gateway.again = true;
                self.coverage.hit(Hard::WokenWhileClosing);
            }
        }
        self.note("wake", index, 0, String::new);
        self.command(index, |machine, now| machine.wake(now))
    }

    pub(super) fn reconnect(&mut self, index: usize) -> Check {
        let at = self.now;
        let gateway = &mut self.gateways[index];
        if !gateway.closing && !gateway.state.is_terminal() {
            let now = gateway.clock.monotonic(at);
            if gateway.conn.is_none() {
                gateway.dials.demand(now);
            } else {
                gateway.dials.release(now);
                gateway.again |= gateway.state != State::Dialing;
            }
        }
        self.note("reconnect", index, 0, String::new);
        self.command(index, |machine, now| machine.reconnect(now))
    }

    pub(super) fn close_gateway(&mut self, index: usize) -> Check {
        let at = self.now;
        let gateway = &mut self.gateways[index];
        if !std::mem::replace(&mut gateway.closing, true) {
            gateway.closing_since = gateway.clock.monotonic(at);
        }
        if gateway.requests.values().any(|request| request.written.is_some()) {
            self.coverage.hit(Hard::ClosedBusy);
        }
        if gateway.conn.is_none() {
            gateway.dials.over();
        }
        self.note("close", index, 0, String::new);
        self.command(index, |machine, now| machine.close(now))
    }

    /// The machine's last event was read: whoever runs the process starts it anew after a while.
    pub(super) fn gateway_finished(&mut self, index: usize, revoked: bool) -> Check {
        let gateway = &mut self.gateways[index];
        if gateway.state != (if revoked { State::Revoked } else { State::Closed }) {
            return violated("CLOSE-1", format!("the last event of a gateway that is {:?}", gateway.state));
        }
        // What is left of the last input comes first.
        self.drain_gateway(index)?;
        self.check_terminal(index)?;
        let gateway = &mut self.gateways[index];
        self.coverage.hit(match (revoked, gateway.closing) {
            (true, _) => return self.succeed(index, true),
            (false, true) => Hard::Closed,
            (false, false) => Hard::NoReconnect,
        });
        self.succeed(index, false)
    }

    pub(super) fn succeed(&mut self, index: usize, revoked: bool) -> Check {
        if self.ending {
            return Ok(());
        }
        self.stop_gateway(index);
        let process = self.gateways[index].process;
        let delay = SECOND / 2 * self.gateways[index].rng.u64(1..30);
        if revoked {
            self.provision(index, true);
        }
        let delay = if self.healed { SECOND } else { delay };
        self.after(delay, Ev::Start { gateway: index, process });
        Ok(())
    }
}
