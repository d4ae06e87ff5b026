//! What a gateway writes into the log of its process, through `tracing`, for every runtime alike.
//!
//! All lines have the target `relay` and the fields `url` (without user information) and `gateway` (the id, when there is
//! one), since a process may have several gateways. At WARN: a failed dial, a link that ended without being asked to, what a
//! connector says in `error` frames, two gateways that take turns, lines that are too long again and again, requests that
//! name none of several bots, deliveries that were dropped, and warnings about the configuration. At ERROR: revoked
//! credentials, and a driver that panicked. Everything else is DEBUG.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;

use crate::gateway::{Notice, Settings};
use crate::target::Target;

/// Whose lines they are.
#[cfg_attr(not(feature = "tracing"), allow(dead_code, reason = "nothing is written without it"))]
pub(super) struct Named {
    gateway: Option<String>,
    target: Arc<Target>,
}

impl Named {
    pub(super) fn new(settings: &Settings) -> Self {
        let gateway = settings.credentials.as_ref().map(|own| own.id.clone());
        Self { gateway, target: settings.target.clone() }
    }
}

/// For how long the same line is not repeated.
const PAUSE: Duration = Duration::from_secs(60);
/// How many different lines of a kind there may be in that time. A peer chooses its words.
const MOST: usize = 8;

/// What the log was told of in the last minute, of all that a peer or the network can bring about again and again.
#[derive(Default)]
pub(super) struct Often {
    told: Vec<Told>,
    untold: u64,
}

struct Told {
    /// The end of a link or of a dial. These have room of their own: how many there are is bounded by the waits between dials,
    /// and no number of a connector's `error` frames may hide them.
    is_end: bool,
    line: u64,
    at: Duration,
}

impl Often {
    /// Something is to be told. How many lines before it were left out; `None`: it is left out itself.
    pub(super) fn count(&mut self, notice: &Notice, now: Duration) -> Option<u64> {
        let mut hasher = FixedState::default().build_hasher();
        match notice {
            // The wait for the next dial makes no other line of it.
            Notice::Disconnected { ended, was_ready, .. } => {
                (ended.cause, ended.code, ended.reason.as_str(), *was_ready).hash(&mut hasher);
            }
            Notice::PeerError(words) => words.hash(&mut hasher),
            Notice::TakingTurns => 0_u8.hash(&mut hasher),
            Notice::TooLong { what, limit } => (*what, *limit).hash(&mut hasher),
            Notice::NoBot { platform } => platform.hash(&mut hasher),
            _ => return Some(0),
        }
        let line = hasher.finish();
        let is_end = matches!(notice, Notice::Disconnected { .. });
        self.told.retain(|told| now.saturating_sub(told.at) < PAUSE);
        let of_kind = self.told.iter().filter(|told| told.is_end == is_end).count();
        if of_kind >= MOST || self.told.iter().any(|told| told.line == line) {
            self.untold = self.untold.saturating_add(1);
            return None;
        }
        self.told.push(Told { is_end, line, at: now });
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(feature = "tracing")]
mod lines {
    use super::Named;
    use crate::gateway::{Cause, ConfigWarning, Ended, Notice, State};

    /// A line of this level with the fields that all have.
    macro_rules! line {
        ($level:ident, $of:expr, $($rest:tt)+) => {
            tracing::$level!(target: "relay", gateway = $of.gateway.as_deref(), url = %$of.target, $($rest)+)
        };
    }

    /// `untold`: how many lines before it were left out.
    pub(in crate::client) fn notice(of: &Named, notice: &Notice, untold: u64) {
        let untold = Some(untold).filter(|untold| *untold > 0);
        match notice {
            Notice::Disconnected { ended, .. } if matches!(ended.cause, Cause::Requested | Cause::Dormant) => {
                line!(debug, of, "{notice}");
            }
            Notice::Disconnected { ended, was_ready, retry_in } => {
                let retry_in_ms = retry_in.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
                let what = if *was_ready { "the link ended" } else { "the dial failed" };
                line!(warn, of, reason = %ended, retry_in_ms, untold, "{what}");
            }
            // A mistake of the application, and one that stops its deliveries sooner or later.
            Notice::PeerError(_)
            | Notice::TakingTurns
            | Notice::TooLong { .. }
            | Notice::NoBot { .. }
            | Notice::Dropped => {
                line!(warn, of, untold, "{notice}");
            }
            _ => line!(debug, of, "{notice}"),
        }
    }

    /// `ended`: how the last link or dial ended, if that is what brought the state about.
    pub(in crate::client) fn state(of: &Named, state: State, ended: Option<&Ended>) {
        let reason = ended.map(tracing::field::display);
        match state {
            State::Revoked => line!(error, of, ?state, reason, "the credentials are revoked: it will not dial again"),
            _ => line!(debug, of, ?state, reason, "state"),
        }
    }

    pub(in crate::client) fn warning(of: &Named, warning: &ConfigWarning) {
        line!(warn, of, "{warning}");
    }

    pub(in crate::client) fn panicked(of: &Named) {
        line!(error, of, "the gateway's driver panicked, so the gateway has ended: please report this");
    }
}

#[cfg(not(feature = "tracing"))]
mod lines {
    use super::Named;
    use crate::gateway::{ConfigWarning, Ended, Notice, State};

    pub(in crate::client) fn notice(_: &Named, _: &Notice, _: u64) {}
    pub(in crate::client) fn state(_: &Named, _: State, _: Option<&Ended>) {}
    pub(in crate::client) fn warning(_: &Named, _: &ConfigWarning) {}
    pub(in crate::client) fn panicked(_: &Named) {}
}

pub(super) use lines::{notice, panicked, state, warning};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_line_comes_once_a_minute_and_there_are_eight_different_ones_at_most() {
        let mut often = Often::default();
        let mut say = |words: &str, at: u64| often.count(&Notice::PeerError(words.into()), Duration::from_secs(at));
        assert_eq!(
            [say("a", 0), say("a", 1), say("a", 59), say("b", 59), say("a", 60)],
            [Some(0), None, None, Some(2), Some(0)]
        );
        let told = (0..1000).filter(|n| say(&format!("word {n}"), 61).is_some()).count();
        assert_eq!(told, 6);
        let mut end = |reason: String, at: u64| {
            let ended = crate::gateway::Ended::local(crate::gateway::Cause::Lost, reason);
            often.count(&Notice::Disconnected { ended, was_ready: true, retry_in: None }, Duration::from_secs(at))
        };
        assert_eq!(end("eof".into(), 62), Some(994), "an end is told whatever a connector says");
        assert_eq!((0..1000).filter(|n| end(n.to_string(), 63).is_some()).count(), 7);
        let mut say = |words: &str, at: u64| often.count(&Notice::PeerError(words.into()), Duration::from_secs(at));
        assert_eq!(say("c", 121), Some(993));
        assert_eq!(often.count(&Notice::UnmatchedResult, Duration::ZERO), Some(0), "debug lines are all told");
        assert!(often.told.len() <= 2 * MOST);
    }

    #[cfg(feature = "tracing")]
    #[test]
    fn each_line_says_whose_it_is_and_shows_no_password() {
        use std::fmt::{Debug, Write as _};
        use std::sync::Mutex;

        use tracing::field::{Field, Visit};
        use tracing::span;

        use crate::gateway::{Cause, Config, Ended, State};

        #[derive(Clone, Default)]
        struct Log(Arc<Mutex<String>>);

        struct Line(String);

        impl Visit for Line {
            fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
                let _ = write!(self.0, " {}={value:?}", field.name());
            }
        }

        impl tracing::Subscriber for Log {
            fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
                true
            }

            fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
                span::Id::from_u64(1)
            }

            fn event(&self, event: &tracing::Event<'_>) {
                let mut line = Line(event.metadata().level().to_string());
                event.record(&mut line);
                let _ = writeln!(self.0.lock().unwrap(), "{}", line.0);
            }

            fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
            fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
            fn enter(&self, _: &span::Id) {}
            fn exit(&self, _: &span::Id) {}
        }

        let config = Config::new("wss://ann:hunter2@c.example").identity("slack", "b").credentials("gw-7", "s3cret");
        let of = Named::new(&config.build().unwrap());
        let ended = || Ended::local(Cause::Unreachable, "connection refused");
        let end = |was_ready| Notice::Disconnected { ended: ended(), was_ready, retry_in: Some(PAUSE) };
        let asked = Notice::Disconnected { ended: Ended::local(Cause::Requested, ""), was_ready: true, retry_in: None };
        let log = Log::default();
        tracing::subscriber::with_default(log.clone(), || {
            notice(&of, &end(false), 3);
            notice(&of, &end(true), 0);
            notice(&of, &asked, 0);
            notice(&of, &Notice::PeerError("no such bot".into()), 0);
            state(&of, State::Disconnected, Some(&ended()));
            state(&of, State::Revoked, None);
        });
        let log = log.0.lock().unwrap();
        let expected = [
            ["WARN", "the dial failed", "reason=unreachable: connection refused retry_in_ms=60000 untold=3"],
            ["WARN", "the link ended", "reason=unreachable: connection refused retry_in_ms=60000"],
            ["DEBUG", "the link ended: requested", ""],
            ["WARN", "the connector says: no such bot", ""],
            ["DEBUG", "state", "state=Disconnected reason=unreachable: connection refused"],
            ["ERROR", "the credentials are revoked", "state=Revoked"],
        ];
        assert_eq!(log.lines().count(), expected.len(), "{log}");
        for (line, [level, words, fields]) in log.lines().zip(expected) {
            assert!(line.starts_with(level) && line.contains(words) && line.contains(fields), "{line}");
            assert!(line.contains("gateway=\"gw-7\"") && line.contains("url=wss://***@c.example/relay"), "{line}");
            assert!(!line.contains("hunter2") && !line.contains("s3cret"), "{line}");
        }
    }
}
