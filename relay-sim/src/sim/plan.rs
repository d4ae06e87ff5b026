//! What a life is made from: one seed, and what a shrunk replay leaves out.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use fastrand::Rng;
use relay_proto::{connector, gateway};

use super::{Nanos, SECOND};

/// One life: everything in it follows from these values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub seed: u64,
    /// Which operations of the script are done.
    pub ops: Keep,
    /// Which faults of the script happen.
    pub faults: Keep,
    /// Links without a WebSocket, whatever the seed says.
    pub plain: bool,
    /// A network that cuts nothing into pieces.
    pub calm: bool,
}

impl Plan {
    /// The whole life of this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, ops: Keep::All, faults: Keep::All, plain: false, calm: false }
    }
}

/// The options by which the program `lives` replays it.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--seed {}", self.seed)?;
        if self.ops != Keep::All {
            write!(f, " --ops {}", self.ops)?;
        }
        if self.faults != Keep::All {
            write!(f, " --faults {}", self.faults)?;
        }
        if self.plain {
            f.write_str(" --plain")?;
        }
        if self.calm {
            f.write_str(" --calm")?;
        }
        Ok(())
    }
}

/// Which steps of a list are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    All,
    Only(BTreeSet<usize>),
}

impl Keep {
    pub fn has(&self, index: usize) -> bool {
        match self {
            Self::All => true,
            Self::Only(kept) => kept.contains(&index),
        }
    }

    /// The kept ones among so many.
    pub fn list(&self, count: usize) -> Vec<usize> {
        (0..count).filter(|index| self.has(*index)).collect()
    }
}

/// Ranges, such as `0-3,7`, or `none`.
impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Only(kept) = self else { return f.write_str("all") };
        if kept.is_empty() {
            return f.write_str("none");
        }
        let mut separator = "";
        for first in kept.iter().filter(|index| **index == 0 || !kept.contains(&(**index - 1))) {
            let last = (*first..).take_while(|index| kept.contains(index)).last().unwrap_or(*first);
            write!(f, "{separator}{first}")?;
            if last > *first {
                write!(f, "-{last}")?;
            }
            separator = ",";
        }
        Ok(())
    }
}

impl FromStr for Keep {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "all" => return Ok(Self::All),
            "none" => return Ok(Self::Only(BTreeSet::new())),
            _ => {}
        }
        let mut kept = BTreeSet::new();
        for range in text.split(',') {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            kept.extend(first.parse::<usize>()?..=last.parse()?);
        }
        Ok(Self::Only(kept))
    }
}

/// Something that an application, or an operator, does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Deliver,
    Request,
    Cancel,
    InterruptUp,
    InterruptDown,
    GoIdle,
    GoDormant,
    Wake,
    Hold,
    Release,
    Reconnect,
    Close,
    PauseApp,
    PauseConnectorApp,
    Junk,
}

const OPS: &[(Op, u32)] = &[
    (Op::Deliver, 40),
    (Op::Request, 24),
    (Op::Cancel, 5),
    (Op::InterruptUp, 2),
    (Op::InterruptDown, 2),
    (Op::GoIdle, 4),
    (Op::GoDormant, 5),
    (Op::Wake, 4),
    (Op::Hold, 3),
    (Op::Release, 2),
    (Op::Reconnect, 3),
    (Op::Close, 2),
    (Op::PauseApp, 3),
    (Op::PauseConnectorApp, 1),
    (Op::Junk, 3),
];

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A connection is cut; both ends notice, one, or none.
    Cut,
    /// A connection is closed in one direction.
    HalfClose,
    /// A direction stands still for a while.
    Stall,
    /// Writing fails while reading still works.
    WriteFails,
    /// No new connections: refused, unanswered, or answered by a proxy with a status.
    Outage,
    /// Hellos are not answered for a while.
    Mute,
    /// Hellos are refused by policy for a while.
    Forbid,
    CrashGateway,
    CrashConnector,
    ShutDownConnector,
    SuspendGateway,
    SuspendConnector,
    /// The machine freezes during its next dial.
    FreezeDial,
    JumpGatewayClock,
    JumpConnectorClock,
    /// A second secret is valid, and given to the gateway when it starts next.
    Rotate,
    /// The gateway's secret is taken back, without closing its link.
    Retire,
    /// The gateway's secret is revoked: its link is closed.
    Revoke,
    /// The connector's application drops the link.
    DropLink,
    /// The store takes its time.
    SlowStore,
    /// The store has no room: for what is appended, or for anything. The next time it has again.
    FullStore,
    /// The store fails once, and it is not known whether what it was to commit is durable.
    FailingStore,
}

const FAULTS: &[(Fault, u32)] = &[
    (Fault::Cut, 30),
    (Fault::HalfClose, 5),
    (Fault::Stall, 7),
    (Fault::WriteFails, 5),
    (Fault::Outage, 10),
    (Fault::Mute, 3),
    (Fault::Forbid, 2),
    (Fault::CrashGateway, 9),
    (Fault::CrashConnector, 10),
    (Fault::ShutDownConnector, 3),
    (Fault::SuspendGateway, 5),
    (Fault::SuspendConnector, 3),
    (Fault::FreezeDial, 8),
    (Fault::JumpGatewayClock, 4),
    (Fault::JumpConnectorClock, 2),
    (Fault::Rotate, 4),
    (Fault::Retire, 5),
    (Fault::Revoke, 4),
    (Fault::DropLink, 3),
    (Fault::SlowStore, 3),
    (Fault::FullStore, 4),
    (Fault::FailingStore, 4),
];

/// One step of a script. What exactly it does follows from `salt`, so that it is the same whatever else is left out.
#[derive(Clone, Copy, Debug)]
pub struct Step<K> {
    pub at: Nanos,
    pub kind: K,
    pub gateway: usize,
    pub salt: u64,
}

/// How one gateway is set up.
#[derive(Clone, Debug)]
pub struct GatewayShape {
    pub timing: gateway::Timing,
    pub limits: gateway::Limits,
    pub confirm_refusals: bool,
    /// How long its tokens live, in seconds.
    pub ttl: u64,
    pub reconnect: bool,
    pub small_limits: bool,
    /// Acknowledges no forwards, as the reference gateway.
    pub legacy: bool,
    /// The application keeps what it processed over a crash.
    pub remembers: bool,
    pub two_identities: bool,
    /// When its secret is made known to the connector.
    pub known_from: Nanos,
    /// Bytes waiting for the socket from which on no further frame is encoded.
    pub enough: usize,
    /// How long the application takes, at most, in milliseconds.
    pub patience: u64,
    /// In how many of 16 cases it does something odd.
    pub oddness: u64,
}

/// How a life is set up.
#[derive(Clone, Debug)]
pub struct Shape {
    pub gateways: Vec<GatewayShape>,
    pub timing: connector::Timing,
    pub limits: connector::Limits,
    pub wire: bool,
    pub durable: bool,
    pub window: usize,
    /// How long faults last; then all is well again.
    pub active: Nanos,
    /// Suspended time counts as monotonic time.
    pub counts_suspend: bool,
    /// The connector tells nobody that a token has expired: it says `unauthorized`, or HTTP 401.
    pub hides_expiry: Option<bool>,
    /// Deadlines come before what arrives in the same moment.
    pub deadlines_first: bool,
    /// Messages may come live before they come buffered.
    pub live_copies: bool,
}

impl Shape {
    /// How much longer than with the default times anything may take.
    pub fn slowness(&self) -> Nanos {
        let odd = self.timing != connector::Timing::default()
            || self.gateways.iter().any(|gateway| gateway.timing != gateway::Timing::default());
        if odd { Nanos::from(LONGER) } else { 1 }
    }
}

/// Everything that a seed decides ahead of time.
#[derive(Clone, Debug)]
pub struct Script {
    pub shape: Shape,
    pub ops: Vec<Step<Op>>,
    pub faults: Vec<Step<Fault>>,
}

/// A number that follows from others.
pub fn mix(words: &[u64]) -> u64 {
    words.iter().fold(0x9e37_79b9_7f4a_7c15, |hash, word| {
        let hash = (hash ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd);
        (hash ^ (hash >> 32)).wrapping_mul(0xc4ce_b9fe_1a85_ec53)
    })
}

/// Every life has its own taste: it does some things never and others often, because what goes wrong goes wrong in
/// combinations that an even mixture hardly ever makes.
fn swarm<K: Copy>(kinds: &[(K, u32)], rng: &mut Rng) -> Vec<(K, u32)> {
    kinds
        .iter()
        .enumerate()
        .map(|(place, (kind, weight))| {
            let taste = [u32::from(place == 0), 1, 1, 8][rng.usize(..4)];
            (*kind, weight * taste)
        })
        .collect()
}

fn pick<K: Copy>(kinds: &[(K, u32)], rng: &mut Rng) -> K {
    let mut at = rng.u32(..kinds.iter().map(|(_, weight)| weight).sum::<u32>());
    for (kind, weight) in kinds {
        match at.checked_sub(*weight) {
            Some(rest) => at = rest,
            None => return *kind,
        }
    }
    kinds[0].0
}

/// Times that are not the default are at most so many times as long.
pub const LONGER: u32 = 2;

/// Another time than this default: a quarter of it, half of it, the same or twice as long.
fn vary(time: Duration, rng: &mut Rng) -> Duration {
    time * [1, 2, 4, 4 * LONGER][rng.usize(..4)] / 4
}

/// A third of the gateways have times and limits of their own.
fn gateway_settings(rng: &mut Rng) -> (gateway::Timing, gateway::Limits) {
    let (mut timing, mut limits) = (gateway::Timing::default(), gateway::Limits::default());
    if rng.u32(..3) == 0 {
        for time in [
            &mut timing.dial,
            &mut timing.handshake,
            &mut timing.request,
            &mut timing.idle,
            &mut timing.backoff_initial,
            &mut timing.backoff_max,
            &mut timing.stable,
            &mut timing.ping_after,
            &mut timing.lost_after,
            &mut timing.resume,
            &mut timing.dormant_redial,
            &mut timing.hold_max,
            &mut timing.shutdown_idle,
            &mut timing.shutdown_requests,
            &mut timing.close,
        ] {
            *time = vary(*time, rng);
        }
        timing.ping_after = timing.ping_after.min(timing.lost_after / 2);
        // What a connector may send always fits.
        limits.frame = [1024, 1 << 20][rng.usize(..2)];
        limits.line = [4096, 1 << 20][rng.usize(..2)];
        limits.message = [4097, 2 << 20][rng.usize(..2)].max(limits.line + 1);
    }
    (timing, limits)
}

/// A third of the connectors, too.
fn connector_settings(rng: &mut Rng) -> (connector::Timing, connector::Limits) {
    let (mut timing, mut limits) = (connector::Timing::default(), connector::Limits::default());
    if rng.u32(..3) == 0 {
        for time in [
            &mut timing.handshake,
            &mut timing.outbound,
            &mut timing.ping_after,
            &mut timing.lost_after,
            &mut timing.close,
        ] {
            *time = vary(*time, rng);
        }
        timing.forward_patience = timing.forward_patience.map(|time| vary(time, rng));
        timing.ping_after = timing.ping_after.min(timing.lost_after / 2);
        limits.frame = [1024, 2048, 1 << 20][rng.usize(..3)];
        limits.line = [2048, 1 << 20][rng.usize(..2)];
        limits.message = [2049, 2 << 20][rng.usize(..2)].max(limits.line + 1);
        limits.outbounds = [1, 2, 256][rng.usize(..3)];
        limits.queue = [1024, 1 << 20][rng.usize(..2)];
        limits.transmit = [1, 700, 256 << 10][rng.usize(..3)];
        limits.buffer = [3000, 64 << 20][rng.usize(..2)];
        limits.forward_attempts = [1, 3][rng.usize(..2)];
    }
    (timing, limits)
}

impl Script {
    /// The script of this seed.
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(mix(&[seed, 1]));
        let count = [1, 1, 1, 2, 2, 3][rng.usize(..6)];
        let active = SECOND * [30, 120, 400, 900][rng.usize(..4)];
        let gateways = (0..count).map(|_| GatewayShape::new(&mut rng)).collect();
        let (timing, limits) = connector_settings(&mut rng);
        let shape = Shape {
            gateways,
            timing,
            limits,
            wire: rng.u32(..3) == 0,
            durable: rng.u32(..8) < 5,
            window: [1, 2, 3, 4, 16][rng.usize(..5)],
            active,
            counts_suspend: rng.bool(),
            hides_expiry: (rng.u32(..5) == 0).then(|| rng.bool()),
            deadlines_first: rng.bool(),
            live_copies: rng.u32(..4) == 0,
        };
        let most = [12, 30, 60][rng.usize(..3)];
        let kinds = swarm(OPS, &mut rng);
        let ops = (0..rng.usize(4..=most)).map(|_| step(&kinds, count, active, &mut rng));
        let ops = sorted(ops.collect());
        let most = [0, 3, 8, 20][rng.usize(..4)];
        let kinds = swarm(FAULTS, &mut rng);
        let faults = (0..rng.usize(0..=most)).map(|_| step(&kinds, count, active, &mut rng));
        Self { shape, ops, faults: sorted(faults.collect()) }
    }
}

/// In bursts: what happens at the same time is what goes wrong.
fn step<K: Copy>(kinds: &[(K, u32)], gateways: usize, active: Nanos, rng: &mut Rng) -> Step<K> {
    let burst = active / 8 * rng.u64(..8);
    let at = match rng.u32(..3) {
        0 => rng.u64(..active),
        1 => burst + rng.u64(..SECOND * 3),
        _ => burst + rng.u64(..SECOND / 5),
    };
    Step { at, kind: pick(kinds, rng), gateway: rng.usize(..gateways), salt: rng.u64(..) }
}

fn sorted<K>(mut steps: Vec<Step<K>>) -> Vec<Step<K>> {
    steps.sort_by_key(|step| step.at);
    steps
}

impl GatewayShape {
    fn new(rng: &mut Rng) -> Self {
        let (timing, limits) = gateway_settings(rng);
        Self {
            timing,
            limits,
            confirm_refusals: rng.u32(..4) == 0,
            ttl: [300, 300, 15][rng.usize(..3)],
            reconnect: rng.u32(..16) != 0,
            small_limits: rng.u32(..4) == 0,
            legacy: rng.u32(..6) == 0,
            remembers: rng.bool(),
            two_identities: rng.u32(..4) == 0,
            known_from: if rng.u32(..10) == 0 { SECOND * rng.u64(1..20) } else { 0 },
            enough: [1, 700, 64 << 10][rng.usize(..3)],
            patience: [1, 300, 5000, 60_000][rng.usize(..4)],
            oddness: [0, 1, 6][rng.usize(..3)],
        }
    }
}
