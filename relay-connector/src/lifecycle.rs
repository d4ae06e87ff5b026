//! The life of a connector, from its start until its store is closed.

/// What a connector is doing. It goes from one to the next, in this order, and never back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Gateways link, and entries are accepted.
    Running,
    /// The peers are being shut down, one after the other.
    ShuttingDown,
    /// Every peer is shut down: nothing is accepted any more. The connections end, and the listener.
    Draining,
    /// Nothing more comes for the store, which commits what it has.
    ClosingStore,
    /// Nothing can happen any more.
    Over,
}

/// Counts what has to end before the connector is over. A listener counts as one connection: as long as it is there,
/// more may come.
#[derive(Debug)]
pub(super) struct Lifecycle {
    phase: Phase,
    connections: usize,
    has_store: bool,
}

impl Lifecycle {
    /// With the listener as its first connection.
    pub(super) fn new(has_store: bool) -> Self {
        Self { phase: Phase::Running, connections: 1, has_store }
    }

    pub(super) fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Whether the store has to commit what it has, and to close.
    pub(super) fn closes_store(&self) -> bool {
        self.phase == Phase::ClosingStore
    }

    /// The shutdown begins. `false`: it has begun before.
    pub(super) fn begin_shutdown(&mut self) -> bool {
        let begins = self.is_running();
        if begins {
            self.phase = Phase::ShuttingDown;
        }
        begins
    }

    /// Every peer is shut down.
    pub(super) fn peers_are_shut(&mut self) {
        if self.phase == Phase::ShuttingDown {
            self.phase = Phase::Draining;
        }
        self.advance();
    }

    pub(super) fn connection_begins(&mut self) {
        self.connections += 1;
    }

    pub(super) fn connection_ends(&mut self) {
        self.connections = self.connections.saturating_sub(1);
        self.advance();
    }

    pub(super) fn store_closed(&mut self) {
        self.has_store = false;
        if self.phase == Phase::ClosingStore {
            self.phase = Phase::Over;
        }
    }

    fn advance(&mut self) {
        if self.phase == Phase::Draining && self.connections == 0 {
            self.phase = if self.has_store { Phase::ClosingStore } else { Phase::Over };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_closes_after_the_last_connection_and_the_listener() {
        let mut life = Lifecycle::new(true);
        life.connection_begins();
        assert!(life.begin_shutdown());
        assert!(!life.begin_shutdown(), "it begins once");
        life.connection_ends();
        life.peers_are_shut();
        assert_eq!(life.phase, Phase::Draining, "the listener is still there");
        life.connection_ends();
        assert!(life.closes_store() && !life.is_over());
        life.store_closed();
        assert!(life.is_over());
    }

    #[test]
    fn connections_that_end_early_do_not_end_the_connector_before_its_peers_are_shut() {
        let mut life = Lifecycle::new(false);
        assert!(life.begin_shutdown());
        life.connection_ends();
        assert_eq!(life.phase, Phase::ShuttingDown);
        life.peers_are_shut();
        assert!(life.is_over(), "without a store there is nothing more to wait for");
    }

    #[test]
    fn a_store_that_closed_before_is_not_waited_for() {
        let mut life = Lifecycle::new(true);
        life.store_closed();
        assert!(life.is_running());
        life.begin_shutdown();
        life.peers_are_shut();
        life.connection_ends();
        assert!(life.is_over());
    }
}
