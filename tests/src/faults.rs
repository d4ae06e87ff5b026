//! Every state in which a connection can be cut, or fall silent, and what has to come of it.

use std::time::Duration;

use relay_proto::action::Action;
use relay_proto::gateway::{Ambiguous, Cause, Config, IdleOutcome, Outcome, RequestOptions, State, Timing};
use relay_proto::proxy::Proxy;
use tokio::task::JoinHandle;

use crate::app::{App, quick};
use crate::frames;
use crate::host::Host;
use crate::peer::Peer;
use crate::raw::{PING, Raw, TEXT, frame, header};
use crate::{HOUR, guard};

/// How far the connection gets before it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The proxy was asked for a tunnel.
    Tunnel,
    /// TLS has begun.
    Tls,
    /// The upgrade was asked for.
    Upgrade,
    /// The upgrade is answered in part.
    InUpgrade,
    /// The upgrade is through; there is no descriptor yet.
    BeforeDescriptor,
    /// The link is ready, and a request and a delivery are under way.
    Ready,
    /// Half a frame has come.
    MidFrame,
    /// `going_idle` is not acknowledged yet.
    GoingIdle,
    /// The gateway's close frame is not answered yet.
    Closing,
}

/// All of them.
pub const STAGES: [Stage; 9] = [
    Stage::Tunnel,
    Stage::Tls,
    Stage::Upgrade,
    Stage::InUpgrade,
    Stage::BeforeDescriptor,
    Stage::Ready,
    Stage::MidFrame,
    Stage::GoingIdle,
    Stage::Closing,
];

/// How it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The peer ends the connection.
    Cut,
    /// The peer resets it.
    Reset,
    /// The peer stops writing and goes on reading.
    Mute,
    /// The peer does neither any more.
    Dead,
}

/// All of them.
pub const FAULTS: [Fault; 4] = [Fault::Cut, Fault::Reset, Fault::Mute, Fault::Dead];

/// The deadlines that end a silence at this stage are met when the test lets [time pass](pass). No machine is so slow that it
/// meets them by itself.
fn timing(stage: Stage, silent: bool) -> Timing {
    let mut timing = quick();
    if silent {
        match stage {
            Stage::Tunnel | Stage::Tls | Stage::Upgrade | Stage::InUpgrade => timing.dial = HOUR,
            Stage::BeforeDescriptor => timing.handshake = HOUR,
            _ => (timing.ping_after, timing.lost_after) = (2 * HOUR, 3 * HOUR),
        }
        (timing.request, timing.idle) = (HOUR, HOUR);
        (timing.shutdown_idle, timing.shutdown_requests, timing.close) = (HOUR, HOUR, HOUR);
    }
    timing
}

/// Lets so many hours pass, one after the other, if the peer is silent.
fn pass(app: &App, silent: bool, hours: usize) {
    (0..if silent { hours } else { 0 }).for_each(|_| app.gateway.advance(HOUR));
}

/// Takes a gateway to a stage, lets its connection fail, sees that everything ends as it should and in time, and then that
/// the gateway dials again and shuts down.
///
/// # Panics
/// When anything does not end, or not as it should.
pub async fn suffer(host: Host, stage: Stage, fault: Fault) {
    let context = format!("{host:?} {stage:?} {fault:?}");
    let peer = Peer::bind().await;
    let silent = matches!(fault, Fault::Mute | Fault::Dead);
    let mut app = App::start(host, config(&peer, stage, silent));
    let mut raw = peer.accept_raw().await;
    advance(&mut app, &mut raw, stage).await;
    let suffering = match stage {
        Stage::Ready => {
            let held = app.message().await;
            let request = app.gateway.call(&Action::typing("c1").to_json(), &RequestOptions::default());
            raw.read().await;
            let suffering = inflict(fault, raw);
            pass(&app, silent, 1);
            let expected = if silent { Ambiguous::TimedOut } else { Ambiguous::LinkLost };
            assert_eq!(guard("the request's end", request).await, Outcome::Ambiguous(expected), "{context}");
            held.ack();
            suffering
        }
        Stage::GoingIdle => {
            let idle = app.gateway.go_idle();
            raw.read().await;
            let suffering = inflict(fault, raw);
            pass(&app, silent, 1);
            let expected = if silent { IdleOutcome::TimedOut } else { IdleOutcome::NoLink };
            assert_eq!(guard("the idle call's end", idle).await, expected, "{context}");
            suffering
        }
        Stage::Closing => {
            let closed = app.gateway.close();
            raw.read().await;
            let suffering = inflict(fault, raw);
            pass(&app, silent, 3);
            guard("the end", closed).await;
            app.closed().await;
            return suffering.over().await;
        }
        _ => inflict(fault, raw),
    };
    pass(&app, silent, 3);
    let (ended, _) = app.disconnected().await;
    assert_eq!(ended.cause, cause(stage, silent), "{context}: {ended}");
    suffering.over().await;
    let patient = !matches!(cause(stage, silent), Cause::TimedOut | Cause::Proxy) && stage != Stage::Tls;
    let closed = if patient {
        let mut link = peer.handshake().await;
        app.ready().await;
        let closed = app.gateway.close();
        link.farewell().await;
        closed
    } else {
        app.gateway.close()
    };
    assert_eq!(guard("the end", closed).await, State::Closed, "{context}");
}

/// Takes a gateway to a stage and drops every handle of it: its connection ends, although the peer does not help.
///
/// # Panics
/// When it does not.
pub async fn forsake(host: Host, stage: Stage) {
    let peer = Peer::bind().await;
    let mut timing = timing(stage, false);
    // Nobody is left to let time pass.
    let short = Duration::from_millis(30);
    (timing.shutdown_idle, timing.shutdown_requests, timing.close) = (short, short, short);
    let mut app = App::start(host, config(&peer, stage, false).timing(timing));
    let mut raw = peer.accept_raw().await;
    advance(&mut app, &mut raw, stage).await;
    match stage {
        // The held delivery goes with the rest.
        Stage::Ready => drop(app.message().await),
        Stage::GoingIdle => drop(app.gateway.go_idle()),
        Stage::Closing => drop(app.gateway.close()),
        _ => {}
    }
    drop(app);
    raw.read_to_end().await;
}

fn config(peer: &Peer, stage: Stage, silent: bool) -> Config {
    let url = match stage {
        Stage::Tunnel => "http://connector.invalid".to_string(),
        Stage::Tls => peer.url().replace("http://", "https://"),
        _ => peer.url(),
    };
    let config = Config::new(url).identity("discord", "b").timing(timing(stage, silent));
    match stage {
        Stage::Tunnel => config.proxy(Proxy::parse(&peer.url()).expect("a proxy")),
        _ => config,
    }
}

/// The peer's part, up to the stage.
async fn advance(app: &mut App, raw: &mut Raw, stage: Stage) {
    if matches!(stage, Stage::Tunnel | Stage::Tls) {
        raw.read().await;
        return;
    }
    let upgrade = raw.request().await;
    match stage {
        Stage::Upgrade => return,
        Stage::InUpgrade => return raw.write("HTTP/1.1 101 Switching Pro").await,
        _ => raw.write(upgrade.acceptance()).await,
    }
    // The hello.
    raw.read().await;
    if stage == Stage::BeforeDescriptor {
        return;
    }
    raw.write(frame(TEXT, frames::line(&frames::descriptor("discord")))).await;
    app.ready().await;
    match stage {
        Stage::Ready => raw.write(frame(TEXT, frames::line(&frames::buffered("1", "hi")))).await,
        Stage::MidFrame => {
            // In one piece: when the ping is answered, the header has been read.
            raw.write([frame(PING, ""), header(0x80 | TEXT, 100)].concat()).await;
            raw.read().await;
        }
        _ => {}
    }
}

fn cause(stage: Stage, silent: bool) -> Cause {
    match (stage, silent) {
        (Stage::Tunnel | Stage::Tls | Stage::Upgrade | Stage::InUpgrade | Stage::BeforeDescriptor, true) => {
            Cause::TimedOut
        }
        (Stage::Tunnel, false) => Cause::Proxy,
        _ => Cause::Lost,
    }
}

/// What the peer does until the gateway has ended the connection.
enum Suffering {
    Gone,
    Mute(JoinHandle<Vec<u8>>),
    Dead(#[expect(dead_code, reason = "it stays open")] Raw),
}

fn inflict(fault: Fault, mut raw: Raw) -> Suffering {
    match fault {
        Fault::Cut => Suffering::Gone,
        Fault::Reset => {
            raw.reset();
            Suffering::Gone
        }
        Fault::Mute => Suffering::Mute(tokio::spawn(async move { raw.read_to_end().await })),
        Fault::Dead => Suffering::Dead(raw),
    }
}

impl Suffering {
    /// Whoever listens on sees the connection end.
    async fn over(self) {
        if let Self::Mute(reading) = self {
            guard("the end of the connection", reading).await.expect("a reader");
        }
    }
}
