//! The runtimes that every suite runs over. This is the only place that knows one.

use std::future::Future;

use relay_proto::gateway::Config;
use relay_proto::host::{Events, Gateway};

/// What drives the gateway of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// relay-tokio, on the thread of the test: gateway and connector take turns, always in the same order.
    TokioOneThread,
    /// relay-tokio, on threads of its own: gateway and connector race.
    TokioThreads,
    /// relay-blocking, on threads of its own.
    Blocking,
}

impl Host {
    /// Starts a gateway.
    ///
    /// # Panics
    /// When the configuration is wrong.
    pub fn connect(self, config: Config) -> (Gateway, Events) {
        match self {
            Self::TokioOneThread | Self::TokioThreads => relay_tokio::connect(config).expect("a good configuration"),
            Self::Blocking => {
                let (gateway, events) = relay_blocking::connect(config).expect("a good configuration");
                (gateway.into_async(), events.into_async())
            }
        }
    }

    /// Runs a test over this host. The connector's side always runs on tokio, on this thread.
    ///
    /// # Panics
    /// When the test does.
    pub fn run<F: Future<Output = ()>>(self, test: impl FnOnce(Self) -> F) {
        let mut builder = match self {
            Self::TokioOneThread | Self::Blocking => tokio::runtime::Builder::new_current_thread(),
            Self::TokioThreads => tokio::runtime::Builder::new_multi_thread(),
        };
        let runtime = builder.worker_threads(2).enable_all().build().expect("a runtime");
        runtime.block_on(test(self));
    }
}

/// Makes tests of async functions over a [`Host`](crate::host::Host), once for every host.
#[macro_export]
macro_rules! suite {
    ($($test:ident),+ $(,)?) => {
        $crate::suite!(@ tokio_one_thread TokioOneThread $($test)+);
        $crate::suite!(@ tokio_threads TokioThreads $($test)+);
        $crate::suite!(@ blocking Blocking $($test)+);
    };
    (@ $module:ident $host:ident $($test:ident)+) => {
        mod $module {
            $(
                #[test]
                fn $test() {
                    $crate::host::Host::$host.run(super::$test);
                }
            )+
        }
    };
}
