//! What must be true of a gateway whenever it has nothing more to do for the moment, and at the end.

use std::time::Duration;

use fastrand::Rng;
use relay_proto::gateway::{DeliveryId, State};

use super::ledger::DeliveryState;
use super::plan::mix;
use super::world::{Ev, World};
use super::{Check, SECOND, nanos, violated};

/// The least that an unread delivery counts for, in bytes.
const OVERHEAD: u64 = 256;

/// What must be true whenever a gateway has nothing more to do for the moment.
impl World {
    pub(super) fn check_gateway(&mut self, index: usize) -> Check {
        let at = self.now;
        let gateway = &mut self.gateways[index];
        let Some(machine) = &gateway.machine else { return Ok(()) };
        gateway.deadline = machine.poll_timeout().map(|deadline| gateway.clock.when(deadline.at));
        let (state, now) = (machine.state(), gateway.clock.monotonic(at));
        if state.is_terminal() {
            gateway.dials.over();
            return if gateway.reading { self.check_terminal(index) } else { Ok(()) };
        }
        if gateway.conn.is_none() {
            gateway.dials.check(now)?;
        }
        if gateway.deadline.is_none() && (gateway.conn.is_none() || machine.wants_read()) {
            return violated("DEADLOCK", format!("{state:?}, and nothing to wait for"));
        }
        let timing = &gateway.shape.timing;
        let on_time = gateway.deadline.is_some_and(|deadline| deadline > at);
        let is_open = matches!(state, State::Handshaking | State::Ready);
        gateway.silence.goes_on(now, is_open && machine.wants_read());
        if !is_open {
            gateway.silence.broken(now);
        }
        if on_time && gateway.silence.is_too_long(nanos(timing.lost_after), now) {
            return violated("LINK-3", format!("nothing came for {} s", gateway.silence.lasted / SECOND));
        }
        let most = match state {
            State::Dialing => timing.dial,
            State::Handshaking => timing.handshake,
            State::Closing => timing.close,
            _ => Duration::MAX,
        };
        if on_time && Duration::from_nanos(now - gateway.since) > most {
            return violated("DIAL-5", format!("{state:?} for more than {most:?}"));
        }
        if on_time && gateway.idles.values().any(|call| now - call.since > nanos(timing.idle)) {
            return violated("IDLE-1", format!("a call that goes on for more than {:?}", timing.idle));
        }
        // Going idle, finishing requests, and the peer's close frame.
        let most = timing.shutdown_idle + timing.shutdown_requests + timing.close;
        if on_time && gateway.closing && now - gateway.closing_since > nanos(most) {
            return violated("CLOSE-1", format!("shutting down goes on for more than {most:?}"));
        }
        let is_linked = matches!(state, State::Ready | State::Closing);
        let has_room = gateway.conn.is_some_and(|conn| {
            let client = self.conns[conn].client.as_ref();
            let room = client.is_some_and(|client| client.transmit().len() < gateway.shape.enough);
            state == State::Ready && room && !self.conns[conn].up.fails(at)
        });
        for (id, request) in &mut gateway.requests {
            match request.written {
                Some((conn, _)) if gateway.conn != Some(conn) => {
                    return violated("REQ-2", format!("request {id} outlives its link"));
                }
                None if !is_linked && !request.patient => {
                    return violated("REQ-2", format!("request {id} waits, and nobody asked it to"));
                }
                None if !is_linked => request.waited = true,
                None if has_room => return violated("REQ-2", format!("request {id} is not written to a ready link")),
                _ => {}
            }
            if request.deadline < now && on_time {
                return violated("REQ-1", format!("request {id} outlives its deadline"));
            }
        }
        let limits = machine.settings().limits();
        let unread = machine.stats().deliveries - gateway.popped;
        if unread > (limits.queue_hard as u64 / OVERHEAD).max(gateway.unread) + 1 {
            return violated("REQ-7", format!("{unread} deliveries are unread"));
        }
        Ok(())
    }

    pub(super) fn check_terminal(&self, index: usize) -> Check {
        let gateway = &self.gateways[index];
        let Some(machine) = &gateway.machine else { return Ok(()) };
        if gateway.conn.is_some() || machine.poll_timeout().is_some() {
            return violated("CLOSE-1", "an end with a link or a deadline left over");
        }
        if !gateway.requests.is_empty() || !gateway.idles.is_empty() {
            return violated("CLOSE-1", format!("an end with {:?} {:?}", gateway.requests, gateway.idles));
        }
        Ok(())
    }

    pub(super) fn resume_reading(&mut self, index: usize) -> Check {
        self.gateways[index].reading = true;
        self.run_gateway(index)
    }

    /// All is well from now on.
    pub(super) fn heal_gateway(&mut self, index: usize) -> Check {
        self.gateways[index].freezes.clear();
        self.set_gateway_clock(index, 0);
        self.gateways[index].reading = true;
        if self.gateways[index].machine.is_none() {
            let process = self.gateways[index].process;
            self.provision(index, false);
            return self.start_gateway(index, process);
        }
        self.provision(index, false);
        self.resume_gateway(index)?;
        let ids: Vec<DeliveryId> = self.gateways[index].app.held.keys().copied().collect();
        for id in ids {
            let process = self.gateways[index].process;
            self.after(SECOND / 100, Ev::Decide { gateway: index, process, delivery: id });
        }
        self.run_gateway(index)
    }

    /// Some time after the last fault there is a link again, without any help. What is left then waits for another link.
    pub(super) fn gateway_recovered(&mut self, index: usize) -> Check {
        let gateway = &self.gateways[index];
        // A window of events at once is more than the smallest limits allow, so that their link is closed time and again.
        if gateway.state != State::Ready && !gateway.shape.small_limits {
            return violated("LINK-1", format!("gateway {index} is {:?} long after the last fault", gateway.state));
        }
        let Some(conn) = gateway.conn.map(|conn| &self.conns[conn]) else { return Ok(()) };
        // What was given back holds up everything behind it, until the next link (ACK-2).
        let entries = &self.ledgers[index].entries;
        let mut unacked = conn.carried[conn.acked..].iter().map(|carried| &entries[carried.event]);
        // And each forward that nobody acknowledges takes its ten seconds.
        let is_held_up = conn.idle
            || gateway.shape.legacy
            || unacked.any(|entry| entry.shown == Some((gateway.process, DeliveryState::Nacked)));
        if let Some((number, entry)) = self.ledgers[index].kept().next().filter(|_| !is_held_up) {
            return violated("DEADLOCK", format!("event {number} does not get through: {entry:?}"));
        }
        self.reconnect(index)?;
        self.run_gateway(index)
    }

    pub(super) fn end_gateway(&mut self, index: usize) -> Check {
        let seed = self.seed;
        let mut rng = Rng::with_seed(mix(&[seed, 7, index as u64]));
        for _ in 0..rng.usize(..3) {
            self.request(index, &mut rng)?;
        }
        self.close_gateway(index)?;
        self.run_gateway(index)
    }

    pub(super) fn gateway_over(&mut self, index: usize) -> Check {
        let state = self.gateways[index].state;
        if state != State::Closed {
            return violated("CLOSE-1", format!("gateway {index} is {state:?} long after it was shut down"));
        }
        self.check_terminal(index)
    }
}
