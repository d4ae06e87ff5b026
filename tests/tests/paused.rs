//! Gateways and connectors on a clock that the test owns: hours pass in milliseconds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::time::{Duration, Instant};

use relay_connector::{self as connector, Connector};
use relay_proto::action::Action;
use relay_proto::client::{self, Clock};
use relay_proto::connector::Event as Seen;
use relay_proto::frame::{RawJson, Verdict};
use relay_proto::gateway::{Ambiguous, Cause, Config, Outcome, RequestOptions, State};
use relay_tests::app::{App, IsMessage as _};
use relay_tests::frames::{message, result};
use relay_tests::guard;
use relay_tests::held::HeldClock;
use relay_tests::host::Host;
use relay_tests::peer::{Incoming, Peer};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// A gateway with the contract's own timing.
fn config(peer: &Peer) -> Config {
    Config::new(peer.url()).identity("discord", "bot-1")
}

async fn serve(config: connector::Config) -> (Connector, connector::Events) {
    connector::serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), config).unwrap()
}

async fn seen(events: &mut connector::Events) -> Seen {
    guard("an event of the connector", events.next()).await.expect("not the end").1
}

async fn outbound(connector: &mut connector::Events) -> connector::Outbound {
    loop {
        if let Seen::Outbound(outbound) = seen(connector).await {
            return outbound;
        }
    }
}

// proves: CLOCK-3, LINK-3
#[tokio::test]
async fn a_silent_peer_is_pinged_for_hours_and_then_given_up() {
    let clock = HeldClock::pause();
    let peer = Peer::bind().await;
    let (mut app, mut link) = App::linked(Host::TokioOneThread, &peer, config(&peer)).await;
    for n in 0..240 {
        clock.advance(30 * SECOND).await;
        assert_eq!(link.next().await, Incoming::Ping, "after {n} half minutes");
        // What comes behind the pong shows that the pong has come.
        link.send(&message(&format!("{n}"))).await;
        assert_eq!(app.message().await.text(), format!("{n}"));
    }
    let mut raw = link.into_raw();
    clock.advance(89 * SECOND).await;
    assert_eq!(raw.read().await.first(), Some(&0x89), "a ping, which nothing answers");
    assert_eq!(app.gateway.state(), State::Ready);
    clock.advance(SECOND).await;
    let (ended, retry_in) = app.disconnected().await;
    assert_eq!((ended.cause, &*ended.reason), (Cause::Lost, "nothing from the peer for 90 s"));
    assert!(retry_in.is_some_and(|wait| wait <= SECOND), "{retry_in:?}: it was ready for hours");
}

// proves: CLOCK-3, LINK-1
#[tokio::test]
async fn a_connector_that_is_gone_is_dialled_for_a_day() {
    let clock = HeldClock::pause();
    let peer = Peer::bind().await;
    let (mut app, link) = App::linked(Host::TokioOneThread, &peer, config(&peer)).await;
    drop((peer, link));
    let (mut passed, mut dials) = (Duration::ZERO, 0);
    while passed < 24 * HOUR {
        let wait = app.disconnected().await.1.expect("another dial");
        let full = (SECOND * 2_u32.pow(dials.min(5))).min(30 * SECOND);
        assert!(full / 2 <= wait && wait <= full, "dial {dials}: {wait:?} is not in [{:?}, {full:?}]", full / 2);
        passed += wait;
        dials += 1;
        clock.advance(wait).await;
    }
    assert!((2880..5800).contains(&dials), "{dials} dials");
}

// proves: CLOCK-3, LINK-3
#[tokio::test]
async fn an_idle_link_of_gateway_and_connector_lives_for_hours() {
    let clock = HeldClock::pause();
    let (connector, mut connected) = serve(connector::Config::new().gateway("gw", "s3cret")).await;
    let url = format!("http://{}", connector.address());
    let config = Config::new(url).identity("discord", "bot-1").credentials("gw", "s3cret");
    let mut app = App::start(Host::TokioOneThread, config);
    app.ready().await;
    for _ in 0..240 {
        clock.advance(31 * SECOND).await;
        // Both ends have pinged by now, and each has its answer before what comes behind it.
        let asked = app.gateway.call(&Action::typing("c1").to_json(), &RequestOptions::default());
        let id = outbound(&mut connected).await.id;
        let answer = RawJson::parse(r#"{"success":true}"#).unwrap();
        connector.gateway("gw").answer(id, &answer).unwrap();
        assert!(matches!(guard("a result", asked).await, Outcome::Result(_)));
    }
    assert_eq!((app.gateway.stats().dials, app.gateway.state()), (1, State::Ready));
    // The token of the next dial is made, and judged, by a wall clock that has gone on as well.
    assert!(connector.gateway("gw").drop_link());
    let wait = app.disconnected().await.1.expect("another dial");
    clock.advance(wait).await;
    app.ready().await;
    // A request ends when its time is over, and not before.
    let asked = app.gateway.call(&Action::typing("c1").to_json(), &RequestOptions::default());
    outbound(&mut connected).await;
    clock.advance(30 * SECOND).await;
    assert_eq!(guard("an end", asked).await, Outcome::Ambiguous(Ambiguous::TimedOut));
}

// proves: CLOCK-3
#[tokio::test]
async fn a_connectors_deadlines_go_by_the_same_clock() {
    let clock = HeldClock::pause();
    let (connector, mut connected) = serve(connector::Config::new()).await;
    // Nothing is said at all.
    let mut mute = TcpStream::connect(connector.address()).await.unwrap();
    let mut app = App::start(
        Host::TokioOneThread,
        Config::new(format!("http://{}", connector.address())).identity("discord", "bot-1"),
    );
    app.ready().await;
    clock.advance(10 * SECOND).await;
    let mut answer = Vec::new();
    guard("the end of the mute connection", mute.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    // The application of the connector does not answer.
    let mut patient = RequestOptions::default();
    patient.timeout = Some(60 * SECOND);
    let asked = app.gateway.call(&Action::typing("c1").to_json(), &patient);
    outbound(&mut connected).await;
    clock.advance(30 * SECOND).await;
    let outcome = guard("a result", asked).await;
    assert!(matches!(&outcome, Outcome::Result(result) if result.verdict == Verdict::Ambiguous), "{outcome:?}");
}

// proves: CLOCK-3
#[tokio::test]
async fn a_call_from_another_thread_reads_the_same_clock() {
    let clock = HeldClock::pause();
    let peer = Peer::bind().await;
    let (app, mut link) = App::linked(Host::TokioOneThread, &peer, config(&peer)).await;
    clock.advance(29 * SECOND).await;
    let gateway = app.gateway.clone();
    // By the system's clock, this would be 29 s ago, and its time over at once or late.
    let call = move || gateway.call(&Action::typing("c1").to_json(), &RequestOptions::default());
    let asked = std::thread::spawn(call).join().unwrap();
    let request = link.expect("outbound").await;
    clock.advance(29 * SECOND).await;
    link.send(&result(&request, serde_json::json!({"success": true}))).await;
    assert!(matches!(guard("a result", asked).await, Outcome::Result(_)));
}

/// A clock that is moved by hand.
struct Moved(Instant);

impl Clock for Moved {
    fn now(&self) -> Instant {
        self.0
    }
}

// proves: CLOCK-3
#[test]
fn the_wall_clock_goes_with_a_monotonic_clock_that_is_ahead_or_behind() {
    let system = client::SystemClock;
    let now = system.now();
    let unix = system.unix(now);
    let about = |clock: Moved, expected: Duration| {
        let difference = clock.unix(clock.0).abs_diff(expected);
        assert!(difference < 60 * SECOND, "{difference:?}");
    };
    about(Moved(now), unix);
    about(Moved(now + 6 * HOUR), unix + 6 * HOUR);
    if let Some(earlier) = now.checked_sub(HOUR) {
        about(Moved(earlier), unix - HOUR);
    }
}

#[tokio::test]
async fn a_handle_may_go_with_its_thread() {
    thread_local! {
        static KEPT: std::cell::RefCell<Option<(Option<client::Gateway>, client::Events)>> =
            const { std::cell::RefCell::new(None) };
    }
    let clock = HeldClock::pause();
    let peer = Peer::bind().await;
    let (App { gateway, events }, mut link) = App::linked(Host::TokioOneThread, &peer, config(&peer)).await;
    let runtime = tokio::runtime::Handle::current();
    let keep = move || {
        KEPT.set(Some((Some(gateway), events)));
        // Used last, and so gone first.
        drop(runtime.enter());
    };
    std::thread::spawn(keep).join().expect("an end in order");
    assert_eq!(link.farewell().await, Some((1000, String::new())));
    drop(clock);
}
