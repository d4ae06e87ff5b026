//! How much may happen in this world, and what.

use std::fmt;

/// How much may happen.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Events: a message, a passthrough forward, a message, and so on.
    pub events: usize,
    /// The connector's window.
    pub window: usize,
    /// How often a link is cut, or a dial fails.
    pub cuts: u8,
    /// How often the gateway's process crashes.
    pub gateway_crashes: u8,
    /// How often the connector's process crashes.
    pub connector_crashes: u8,
    /// How often the application gives back or drops what it holds.
    pub returns: u8,
    /// How often the store refuses an entry.
    pub refusals: u8,
    /// How often the gateway goes idle, or dormant.
    pub idles: u8,
    /// How often the gateway shuts down in order.
    pub closes: u8,
    /// Whether forwards that are not acknowledged for long are presumed taken: the default of the connector.
    pub assumes_forwards_acked: bool,
}

impl Bounds {
    /// No fault at all.
    pub fn peaceful(events: usize, window: usize) -> Self {
        Self {
            events,
            window,
            cuts: 0,
            gateway_crashes: 0,
            connector_crashes: 0,
            returns: 0,
            refusals: 0,
            idles: 0,
            closes: 0,
            assumes_forwards_acked: false,
        }
    }
}

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client.
    Gateway,
    /// The server.
    Connector,
}

/// One thing that can happen. Links are named by their place among those that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// The connector's application gives the next event.
    Give,
    /// The store has done the oldest of what it was asked, durably, and says so.
    Store,
    /// The store refuses to take an entry.
    RefuseEntry,
    /// The connector accepts the upgrade of the dial.
    Accept(usize),
    /// The oldest thing under way to this side arrives.
    Arrive(usize, Side),
    /// This side finds the link lost, with everything that was under way to it.
    Lose(usize, Side),
    /// The application takes a delivery that it holds.
    Take(usize),
    /// It gives one back.
    Nack(usize),
    /// It drops one.
    Drop(usize),
    /// It calls for another link.
    Reconnect,
    /// It goes idle.
    GoIdle,
    /// It goes dormant.
    GoDormant,
    /// It shuts down.
    Close,
    /// The next deadline of this side passes.
    Deadline(Side),
    /// The process of this side is gone.
    Crash(Side),
    /// The connector's process is gone, and the store had just done the oldest of what it was asked.
    CrashBehindStore,
    /// The process of this side starts anew.
    Start(Side),
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
