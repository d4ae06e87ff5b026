//! Accepting connections.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::sleep_until;

use super::link::Connection;
use super::server::{ConnectionGuard, Server};

/// The pause after an accept that failed, say because no file descriptor was left.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections until the connector shuts down.
pub(super) fn accept(listener: TcpListener, server: Arc<Server>) -> impl Future<Output = ()> {
    // Here and not in the future, which may be dropped before it is polled: the runtime may end at once.
    accept_until_shutdown(listener, Listening(server))
}

async fn accept_until_shutdown(listener: TcpListener, server: Listening) {
    // Dropped in reverse: who waits for the end finds the port free.
    let (server, listener) = (server, listener);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                // How a link ended is an event of its gateway's; before there is a gateway it is not told.
                Ok((stream, address)) => {
                    if let Ok(mut connection) = Connection::new(stream, address.ip(), ConnectionGuard::new(server.0.clone())) {
                        // A block and not a function: those keep what they are given twice.
                        tokio::spawn(async move {
                            connection.run().await;
                            connection.part().await;
                        });
                    }
                }
                // One client's failure is no reason to stop, and a lasting one none to spin.
                Err(_) => sleep_until(server.0.after(PAUSE)).await,
            },
            () = server.0.closing() => return,
        }
        // While many come, those that are here have their turn.
        tokio::task::yield_now().await;
    }
}

/// Tells that the connector no longer listens, however the task ends: its runtime may go away under it.
struct Listening(Arc<Server>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.begin_shutdown();
        self.0.connection_ends();
    }
}
