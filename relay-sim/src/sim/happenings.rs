//! What happens to the world: operations of its people, and faults.

use fastrand::Rng;

use super::connector::Outage;
use super::coverage::Hard;
use super::network::{Tail, Way, is_inside};
use super::plan::{Fault, Op, Step};
use super::store::Trouble;
use super::world::{Ev, World};
use super::{Check, Nanos, SECOND, violated};

impl World {
    pub(super) fn do_op(&mut self, number: usize) -> Check {
        let Step { kind, gateway: index, salt, .. } = self.script.ops[number];
        let mut rng = Rng::with_seed(salt);
        let now = self.now;
        self.note("op", index, number as u64, || format!("{kind:?}"));
        match kind {
            Op::Deliver => {
                for _ in 0..[1, 1, 2, 6, 12][rng.usize(..5)] {
                    self.deliver(index, &mut rng)?;
                }
                return Ok(());
            }
            Op::InterruptDown => {
                if self.connector.is_awake() {
                    self.peer_command(index, |peer, now| peer.interrupt("s", "c", now).is_ok());
                    self.run_peer(index)?;
                }
                return Ok(());
            }
            Op::PauseConnectorApp => {
                // Only a store tells the world of an acknowledgement before the application reads of it.
                if self.script.shape.durable {
                    self.connector.reading = false;
                    self.after(SECOND * rng.u64(1..40), Ev::ReadConnector(index));
                }
                return Ok(());
            }
            Op::Junk => return self.junk(index, &mut rng),
            _ => {}
        }
        if !self.gateways[index].is_awake() {
            return Ok(());
        }
        match kind {
            Op::Request => {
                for _ in 0..[1, 1, 2, 5][rng.usize(..4)] {
                    self.request(index, &mut rng)?;
                }
            }
            Op::Cancel => {
                let ids: Vec<_> = self.gateways[index].requests.keys().copied().collect();
                if let Some(id) = rng.choice(ids) {
                    let process = self.gateways[index].process;
                    return self.cancel(index, process, id);
                }
            }
            Op::InterruptUp => {
                self.command(index, |machine, now| machine.interrupt("s", Some("stop"), now).is_ok())?;
            }
            Op::GoIdle => self.idle(index, false)?,
            Op::GoDormant => {
                self.idle(index, true)?;
                if rng.u32(..3) == 0 {
                    self.after(rng.u64(..SECOND / 5), Ev::Wake(index));
                }
            }
            Op::Wake => self.wake(index)?,
            Op::Hold => {
                self.gateways[index].dials.hold();
                self.command(index, |machine, now| machine.hold_redial(now))?;
            }
            Op::Release => {
                let gateway = &mut self.gateways[index];
                gateway.dials.release(gateway.clock.monotonic(now));
                self.command(index, |machine, now| machine.release_redial(now))?;
            }
            Op::Reconnect => self.reconnect(index)?,
            Op::Close => self.close_gateway(index)?,
            Op::PauseApp => {
                self.gateways[index].reading = false;
                self.after(SECOND * rng.u64(1..90), Ev::ReadEvents(index));
            }
            Op::Deliver | Op::InterruptDown | Op::PauseConnectorApp | Op::Junk => {}
        }
        self.run_gateway(index)
    }

    /// The connector's side says something that is no frame, or none that anybody asked for.
    fn junk(&mut self, index: usize, rng: &mut Rng) -> Check {
        let lines = [
            "nonsense",
            "{\"type\":\"ping\"}",
            "{\"type\":\"telepathy\",\"x\":[1,2]}",
            "[]",
            "{\"type\":\"going_idle_ack\"}",
            "{\"type\":\"outbound_result\",\"requestId\":\"00000000000000000000000000000000\",\"result\":{}}",
            "{\"type\":\"descriptor\",\"descriptor\":{\"platform\":\"telegram\"}}",
            "\r",
        ];
        let line = lines[rng.usize(..lines.len())];
        if let Some(conn) = self.open_conn(index)
            && self.conns[conn].peer_link.is_some()
            && !self.conns[conn].close_down
        {
            // Whoever waits for an ack of going idle would believe this one.
            self.conns[conn].idle_unasked |= line.contains("going_idle_ack");
            self.send_down(index, conn, format!("{line}\n"));
            self.write(conn, Way::Down);
        }
        Ok(())
    }

    /// The connection that both ends still have.
    fn open_conn(&self, index: usize) -> Option<usize> {
        self.gateways[index]
            .conn
            .filter(|conn| self.conns[*conn].client.is_some() && self.conns[*conn].server.is_some())
    }

    pub(super) fn do_fault(&mut self, number: usize) -> Check {
        let Step { kind, gateway: index, salt, .. } = self.script.faults[number];
        let mut rng = Rng::with_seed(salt);
        let (now, healed_at) = (self.now, self.healed_at());
        let until = |seconds: u64| (now + seconds * SECOND).min(healed_at);
        let short = rng.u64(1..12);
        let long = [rng.u64(1..30), rng.u64(30..120), rng.u64(290..420)][rng.usize(..3)];
        self.note("fault", index, number as u64, || format!("{kind:?}"));
        match kind {
            Fault::Cut => self.cut(index, &mut rng),
            Fault::HalfClose => {
                if let Some(conn) = self.open_conn(index) {
                    self.coverage.hit(Hard::HalfClosed);
                    let way = if rng.bool() { Way::Up } else { Way::Down };
                    self.conns[conn].pipe(way).close(now);
                    self.announce(conn, way);
                }
            }
            Fault::Stall => {
                if let Some(conn) = self.open_conn(index) {
                    self.coverage.hit(Hard::Stalled);
                    let way = if rng.bool() { Way::Up } else { Way::Down };
                    self.conns[conn].pipe(way).stall(until(if rng.bool() { short } else { long }));
                    self.announce(conn, way);
                }
            }
            Fault::WriteFails => {
                if let Some(conn) = self.open_conn(index) {
                    self.coverage.hit(Hard::WriteFailed);
                    self.conns[conn].up.fail(now);
                    self.conns[conn].up.close(now);
                    self.announce(conn, Way::Up);
                }
            }
            Fault::Outage => {
                let outages = [
                    Outage::Refused,
                    Outage::Refused,
                    Outage::Silent,
                    Outage::Deaf,
                    Outage::Http(503),
                    Outage::Http(403),
                    Outage::Http(401),
                    Outage::Once(401),
                    Outage::Once(401),
                ];
                let outage = outages[rng.usize(..outages.len())];
                self.connector.peers[index].outage = Some((until(long), outage));
                self.cut(index, &mut rng);
            }
            Fault::Mute => {
                self.connector.peers[index].mute_until = until(long);
                self.cut(index, &mut rng);
            }
            Fault::Forbid => {
                self.connector.peers[index].forbid_until = until(short);
                self.cut(index, &mut rng);
            }
            Fault::CrashGateway => return self.crash_gateway(index, short),
            Fault::CrashConnector => {
                if rng.bool() {
                    return self.crash_connector(SECOND * short / 2);
                }
                // When it hurts most.
                self.connector.crash_in_store = Some(SECOND * short / 2);
            }
            Fault::ShutDownConnector => {
                if self.connector.is_awake() {
                    return self.shut_down_connector();
                }
            }
            Fault::SuspendGateway => return self.suspend_gateway(index, long * SECOND),
            Fault::SuspendConnector => {
                if self.connector.is_awake() {
                    self.coverage.hit(Hard::Suspended);
                    self.connector.suspended = Some(now);
                    self.at(until(long), Ev::ResumeConnector);
                }
            }
            Fault::FreezeDial => {
                let freeze = (rng.u64(..5), SECOND * [long, 350][rng.usize(..2)]);
                self.gateways[index].freezes = vec![freeze; [1, 2, 2][rng.usize(..3)]];
                if rng.u32(..4) > 0 {
                    self.connector.peers[index].secrets.clear();
                }
                self.cut(index, &mut rng);
            }
            Fault::JumpGatewayClock => {
                self.coverage.hit(Hard::WallJump);
                let skew = self.gateways[index].clock.skew + rng.i64(-600..600);
                self.set_gateway_clock(index, skew);
            }
            Fault::JumpConnectorClock => {
                self.coverage.hit(Hard::WallJump);
                self.connector.clock.skew += rng.i64(-600..600);
            }
            Fault::Rotate => {
                self.gateways[index].next_secret += 1;
                let secret = self.gateways[index].next_secret;
                self.connector.peers[index].secrets.insert(secret);
            }
            Fault::Retire => self.connector.peers[index].secrets.clear(),
            Fault::Revoke => {
                self.connector.peers[index].secrets.clear();
                if self.connector.is_awake() {
                    let linked = self.peer_command(index, |peer, now| {
                        peer.revoke(now);
                        peer.current_link().is_some()
                    });
                    if linked == Some(true) {
                        return violated("CONN-6", "a link outlives its secret");
                    }
                    return self.run_peer(index);
                }
            }
            Fault::DropLink => {
                if self.connector.is_awake() {
                    self.peer_command(index, |peer, now| peer.drop_link(now));
                    return self.run_peer(index);
                }
            }
            Fault::SlowStore => self.connector.slow_until = until(short),
            Fault::FullStore => {
                let store = &mut self.connector.store;
                store.trouble = match store.trouble {
                    Trouble::None if rng.bool() => Trouble::Appends,
                    Trouble::None => Trouble::Everything,
                    _ => Trouble::None,
                };
            }
            Fault::FailingStore => self.connector.store.fails_next = true,
        }
        Ok(())
    }

    pub(super) fn crash_connector(&mut self, delay: Nanos) -> Check {
        if self.connector.up && !self.healed {
            self.coverage.hit(Hard::ConnectorCrash);
            self.stop_connector()?;
            self.restart_connector(delay);
        }
        Ok(())
    }

    fn crash_gateway(&mut self, index: usize, seconds: u64) -> Check {
        if self.gateways[index].machine.is_some() {
            self.coverage.hit(Hard::GatewayCrash);
            if !self.gateways[index].app.held.is_empty() {
                self.coverage.hit(Hard::GatewayCrashHolding);
            }
            self.stop_gateway(index);
            let process = self.gateways[index].process;
            let healed_at = self.healed_at();
            self.at((self.now + seconds * SECOND / 2).min(healed_at), Ev::Start { gateway: index, process });
        }
        Ok(())
    }

    /// The connection of a gateway is cut. Each end notices soon, late, or only by the silence.
    fn cut(&mut self, index: usize, rng: &mut Rng) {
        let Some(conn) = self.open_conn(index) else { return };
        let now = self.now;
        let link = &mut self.conns[conn];
        let tail = |rng: &mut Rng| match rng.u32(..4) {
            0 => None,
            1 => Some(Tail::Eof),
            _ => Some(Tail::Reset),
        };
        let unacked = link.acked < link.carried.len();
        let tails = [tail(rng), tail(rng)];
        let down = link.down.cut(now, tails[0]);
        let up = link.up.cut(now, tails[1]);
        let hits = [
            (is_inside(&link.ends_down, down), Hard::CutInFrameDown),
            (is_inside(&link.ends_up, up), Hard::CutInFrameUp),
            (unacked, Hard::CutUnacked),
            (self.gateways[index].requests.values().any(|request| request.is_on(conn)), Hard::CutRequests),
            (tails.contains(&None), Hard::CutUnnoticed),
        ];
        for (_, hard) in hits.into_iter().filter(|(hit, _)| *hit) {
            self.coverage.hit(hard);
        }
        self.note("cut", index, conn as u64, || format!("{tails:?}"));
        self.announce(conn, Way::Up);
        self.announce(conn, Way::Down);
    }

    /// Something in this direction may arrive at another time than was said before.
    fn announce(&mut self, conn: usize, way: Way) {
        let next: Option<Nanos> = self.conns[conn].pipe(way).next();
        if let Some(at) = next {
            self.at(at, Ev::Arrive(conn, way));
        }
    }
}
