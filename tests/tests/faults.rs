//! Connections that fail in every state and in every way, on every host.

use futures_util::future::join_all;
use relay_tests::faults::{Fault, STAGES, forsake, suffer};
use relay_tests::host::Host;

async fn every_stage(host: Host, fault: Fault) {
    join_all(STAGES.map(|stage| suffer(host, stage, fault))).await;
}

// proves: LINK-1, LINK-2, REQ-2
async fn a_connection_that_is_cut(host: Host) {
    every_stage(host, Fault::Cut).await;
}

// proves: LINK-2, REQ-2
async fn a_connection_that_is_reset(host: Host) {
    every_stage(host, Fault::Reset).await;
}

// proves: DIAL-5, LINK-3, REQ-1, IDLE-1, CLOSE-1
async fn a_peer_that_stops_writing(host: Host) {
    every_stage(host, Fault::Mute).await;
}

// proves: DIAL-5, LINK-3, REQ-1, IDLE-1, CLOSE-1
async fn a_peer_that_does_nothing_any_more(host: Host) {
    every_stage(host, Fault::Dead).await;
}

// proves: CLOSE-1
async fn a_gateway_that_nobody_holds_any_more(host: Host) {
    join_all(STAGES.map(|stage| forsake(host, stage))).await;
}

relay_tests::suite! {
    a_connection_that_is_cut,
    a_connection_that_is_reset,
    a_peer_that_stops_writing,
    a_peer_that_does_nothing_any_more,
    a_gateway_that_nobody_holds_any_more,
}
