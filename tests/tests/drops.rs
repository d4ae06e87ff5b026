//! What happens to a gateway whose tokio runtime goes away, or was never there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::sync::mpsc;

use relay_proto::action::Action;
use relay_proto::client::Event;
use relay_proto::gateway::{Ambiguous, Cause, Config, ConfigError, NotSent, Outcome, RequestOptions, State};
use relay_tests::app::{App, config};
use relay_tests::frames::buffered;
use relay_tests::guard;
use relay_tests::host::Host;
use relay_tests::peer::Peer;
use relay_tokio::ConnectError;
use tokio::runtime::{Builder, Runtime};

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

#[test]
fn connecting_outside_a_runtime_is_an_error() {
    let config = Config::new("ws://127.0.0.1:1").identity("discord", "b");
    assert_eq!(relay_tokio::connect(config).err(), Some(ConnectError::NoRuntime));
    let wrong = relay_tokio::connect(Config::new("ws://127.0.0.1:1")).err();
    assert_eq!(wrong, Some(ConnectError::Config(ConfigError::NoIdentity)));
}

// proves: REQ-1, CLOSE-1
#[tokio::test]
async fn a_runtime_that_is_dropped_ends_everything_that_waits_elsewhere() {
    let theirs = runtime();
    let peer = Peer::bind().await;
    let entered = theirs.enter();
    let mut app = App::start(Host::TokioThreads, config(&peer));
    drop(entered);
    let mut link = peer.handshake().await;
    app.ready().await;
    link.send(&buffered("b1", "kept")).await;
    let delivery = app.message().await;
    let requests: Vec<_> = (0..100)
        .map(|_| tokio::spawn(app.gateway.call(&Action::typing("c1").to_json(), &RequestOptions::default())))
        .collect();
    for _ in 0..100 {
        link.expect("outbound").await;
    }
    let gateway = app.gateway.clone();
    let closing = tokio::spawn(async move { gateway.ended().await });
    let idle = tokio::spawn(app.gateway.go_idle());
    link.expect("going_idle").await;
    theirs.shutdown_background();
    for request in requests {
        let outcome = guard("an end", request).await.unwrap();
        assert_eq!(outcome, Outcome::Ambiguous(Ambiguous::ShutDown));
    }
    guard("an end", idle).await.unwrap();
    assert_eq!(guard("the end", closing).await.unwrap(), State::Closed);
    assert_eq!(link.ended().await, None, "without a goodbye: nobody is left to say it");
    app.closed().await;
    // What is left is harmless.
    delivery.ack();
    guard("nothing to close", app.gateway.close()).await;
    let late = app.gateway.call(&Action::typing("c1").to_json(), &RequestOptions::default());
    assert_eq!(guard("an end", late).await, Outcome::NotSent(NotSent::ShutDown));
    peer.assert_nobody_dialled().await;
}

#[test]
fn a_gateway_may_outlive_its_runtime() {
    let ours = runtime();
    let peer = ours.block_on(Peer::bind());
    let theirs = runtime();
    let app = {
        let _entered = theirs.enter();
        App::start(Host::TokioThreads, config(&peer))
    };
    let link = ours.block_on(peer.handshake());
    drop(theirs);
    assert_eq!(app.gateway.state(), State::Closed);
    app.gateway.wake();
    app.gateway.reconnect();
    drop((app, link));
}

/// The driver, and tasks that hold requests and deliveries of it, all go at once, in any order.
#[test]
fn a_runtime_that_is_dropped_with_everything_in_it() {
    for _ in 0..20 {
        let all = runtime();
        all.block_on(async {
            let peer = Peer::bind().await;
            let (mut app, mut link) = App::linked(Host::TokioThreads, &peer, config(&peer)).await;
            for _ in 0..20 {
                let request = app.gateway.call(&Action::typing("c1").to_json(), &RequestOptions::default());
                tokio::spawn(request);
                link.expect("outbound").await;
            }
            link.send(&buffered("b1", "held")).await;
            let delivery = app.message().await;
            tokio::spawn(async move {
                let _held = (link, peer, delivery);
                while let Some(event) = app.events.next().await {
                    drop(event);
                }
            });
        });
        drop(all);
    }
}

// proves: CLOSE-1
#[test]
fn dropping_every_handle_ends_the_driver_at_any_moment() {
    let ours = runtime();
    let peer = ours.block_on(Peer::bind());
    let theirs = Builder::new_current_thread().enable_all().build().unwrap();
    for moment in 0..60 {
        // The runtime makes `moment` steps before everything is dropped.
        theirs.block_on(async {
            let app = App::start(Host::TokioOneThread, config(&peer));
            for _ in 0..moment {
                tokio::task::yield_now().await;
            }
            drop(app);
        });
        // It goes on until the driver is gone. Whoever listens may or may not have noticed the dial.
        let gone = async {
            while theirs.metrics().num_alive_tasks() > 0 {
                tokio::task::yield_now().await;
            }
        };
        theirs.block_on(guard("the driver's end", gone));
    }
}

// proves: CLOSE-1
#[tokio::test]
async fn nothing_is_left_of_a_gateway_that_has_ended() {
    let theirs = runtime();
    let peer = Peer::bind().await;
    for end in 0..3 {
        let mut app = {
            let _entered = theirs.enter();
            App::start(Host::TokioThreads, config(&peer))
        };
        let mut link = peer.handshake().await;
        app.ready().await;
        match end {
            0 => {
                guard("the end", async { tokio::join!(app.gateway.close(), link.farewell()) }).await;
            }
            1 => {
                link.close(4401, "unauthorized").await;
                app.disconnected().await;
                assert!(matches!(app.event().await, Event::Revoked { .. }));
            }
            _ => {
                drop(app);
                link.farewell().await;
            }
        }
        let gone = async {
            while theirs.metrics().num_alive_tasks() > 0 {
                tokio::task::yield_now().await;
            }
        };
        guard("the driver's end", gone).await;
    }
    theirs.shutdown_background();
}

/// Tokio panics in the driver of such a runtime. The gateway ends all the same, and nobody waits for ever.
#[test]
fn a_runtime_without_sockets() {
    let theirs = Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let mut app = {
        let _entered = theirs.enter();
        App::start(Host::TokioThreads, Config::new("ws://127.0.0.1:1").identity("discord", "b"))
    };
    let ours = runtime();
    assert_eq!(ours.block_on(guard("the end", app.gateway.ended())), State::Closed);
    // The runtime panics, and why comes first.
    assert_eq!(ours.block_on(app.disconnected()).0.cause, Cause::Panicked);
    ours.block_on(app.closed());
}

/// Events and results arrive while another thread does nothing but take the lock.
#[test]
fn handles_on_many_threads() {
    let ours = runtime();
    ours.block_on(async {
        let peer = Peer::bind().await;
        let (mut app, mut link) = App::linked(Host::TokioThreads, &peer, config(&peer)).await;
        let (stop, stopped) = mpsc::channel::<()>();
        let gateway = app.gateway.clone();
        let reader = std::thread::spawn(move || {
            while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
                let _ = (gateway.state(), gateway.stats(), gateway.descriptor(), gateway.clone());
            }
        });
        for n in 0..200 {
            link.send(&buffered(&format!("b{n}"), &format!("{n}"))).await;
            app.message().await.ack();
            assert_eq!(link.ack().await, format!("b{n}"));
        }
        drop(stop);
        reader.join().unwrap();
    });
}
