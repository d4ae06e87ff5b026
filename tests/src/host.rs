//! The runtimes that every suite runs over. This is the only place that knows one.

use std::future::Future;

use relay_proto::client::{Events, Gateway};
use relay_proto::gateway::Config;
use relay_proto::wire::ClientTls;

use crate::readiness;

/// What drives the gateway of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// relay-tokio, on the thread of the test: gateway and connector take turns, always in the same order.
    TokioOneThread,
    /// relay-tokio, on threads of its own: gateway and connector race.
    TokioThreads,
    /// relay-async-std, on the threads of its executor.
    AsyncStd,
    /// No runtime: a readiness loop on a thread.
    Readiness,
    /// relay-blocking, on threads of its own.
    Blocking,
}

/// All of them.
pub const HOSTS: [Host; 5] =
    [Host::TokioOneThread, Host::TokioThreads, Host::AsyncStd, Host::Readiness, Host::Blocking];

impl Host {
    /// Starts a gateway.
    ///
    /// # Panics
    /// When the configuration is wrong.
    pub fn connect(self, config: Config) -> (Gateway, Events) {
        self.connect_with_tls(config, None)
    }

    /// Starts a gateway with this TLS configuration.
    ///
    /// # Panics
    /// When the configuration is wrong.
    pub fn connect_with_tls(self, config: Config, tls: Option<ClientTls>) -> (Gateway, Events) {
        match self {
            Self::TokioOneThread | Self::TokioThreads => {
                relay_tokio::connect_with_tls(config, tls).expect("a good configuration")
            }
            Self::AsyncStd => relay_async_std::connect_with_tls(config, tls).expect("a good configuration"),
            Self::Readiness => {
                let settings = config.build().expect("a good configuration");
                let (gateway, events, driver) = relay_proto::client::gateway(settings, tls);
                readiness::spawn(driver);
                (gateway, events)
            }
            Self::Blocking => {
                let (gateway, events) = relay_blocking::connect_with_tls(config, tls).expect("a good configuration");
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
            Self::TokioOneThread | Self::AsyncStd | Self::Readiness | Self::Blocking => {
                tokio::runtime::Builder::new_current_thread()
            }
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
        $crate::suite!(@ async_std AsyncStd $($test)+);
        $crate::suite!(@ readiness Readiness $($test)+);
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
