//! How a connector treats its gateways, checked as a whole.

use core::time::Duration;

/// How long things may take.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timing {
    /// From the accepted upgrade to the first answered hello. Default 30 s.
    pub handshake: Duration,
    /// How long the application may take to answer an outbound before it is answered for it (CONN-6). Default 30 s,
    /// which is what gateways wait: nobody would read a later answer.
    pub outbound: Duration,
    /// Silence from the gateway after which a ping goes out (LINK-3). Default 30 s.
    pub ping_after: Duration,
    /// Silence from the gateway after which the link is lost (LINK-3); also how long it may leave our frames unread.
    /// Above `ping_after` by at least what a ping and its answer take. Default 90 s.
    pub lost_after: Duration,
    /// How long the gateway may take to answer our close frame before the connection is dropped. Default 2 s.
    pub close: Duration,
    /// How long a forward waits for its acknowledgement from a gateway that never acknowledged one, see
    /// [the module](super#forwards-that-nobody-acknowledges). `None`: for ever. Default 10 s.
    pub forward_patience: Option<Duration>,
}

impl Default for Timing {
    fn default() -> Self {
        let s = Duration::from_secs;
        Self {
            handshake: s(30),
            outbound: s(30),
            ping_after: s(30),
            lost_after: s(90),
            close: s(2),
            forward_patience: Some(s(10)),
        }
    }
}

/// How much one gateway may have, hold and cost.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Deliveries that may be unacknowledged on a link (CONN-3). Default 16.
    pub window: usize,
    /// The largest frame that is sent, in bytes without its newline (FRAME-1). Default 1 MiB, which is also the longest
    /// line that gateways take by default. It has nothing to do with what is received.
    pub frame: usize,
    /// The longest line that is received, in bytes (FRAME-3). Default 1 MiB; at most 1 GiB.
    pub line: usize,
    /// The largest WebSocket message that is received, in bytes. Above `line`. Default 2 MiB.
    pub message: usize,
    /// Hellos on one link. Default 256.
    pub hellos: usize,
    /// Outbounds of one link that wait for their answer. More are answered at once, as unsuccessful. Default 256.
    pub outbounds: usize,
    /// Bytes of events that the application left unread, from which on the link is not read. Default 1 MiB.
    pub queue: usize,
    /// Bytes of unwritten answers from which on the link is not read: a gateway that does not read must not make us
    /// hold its answers. Default 256 KiB.
    pub transmit: usize,
    /// Bytes of buffered entries that a buffer in memory takes before it refuses more. A store is not limited by this.
    /// Default 64 MiB.
    pub buffer: usize,
    /// How many links carry a forward to a gateway that never acknowledged one, before it is given up, see
    /// [the module](super#forwards-that-nobody-acknowledges). Default 3.
    pub forward_attempts: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            window: 16,
            frame: 1 << 20,
            line: 1 << 20,
            message: 2 << 20,
            hellos: 256,
            outbounds: 256,
            queue: 1 << 20,
            transmit: 256 << 10,
            buffer: 64 << 20,
            forward_attempts: 3,
        }
    }
}

/// When an entry that a link carried leaves the buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AckPolicy {
    /// When the gateway acknowledges it (CONN-3).
    #[default]
    Required,
    /// Once it has been handed to the link, until the gateway acknowledges anything for the first time: then as with
    /// [`Required`](Self::Required). For gateways that acknowledge nothing; the price is in
    /// [the module](super#gateways-that-acknowledge-nothing). Not for gateways that are merely slow.
    Assumed,
}

/// Timing and limits that have been checked, and what is asked of the gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    pub(crate) timing: Timing,
    pub(crate) limits: Limits,
    pub(crate) acks: AckPolicy,
}

impl Settings {
    /// Checks the whole. [`Settings::default`] has every default.
    ///
    /// # Errors
    /// [`SettingsError`] names what is wrong.
    pub fn new(timing: Timing, limits: Limits) -> Result<Self, SettingsError> {
        for (name, value) in [
            ("handshake", timing.handshake),
            ("outbound", timing.outbound),
            ("ping_after", timing.ping_after),
            ("close", timing.close),
            ("forward_patience", timing.forward_patience.unwrap_or(Duration::MAX)),
        ] {
            if value.is_zero() {
                return Err(SettingsError::ZeroTiming(name));
            }
        }
        // Otherwise every silent link is lost before its gateway could answer a ping (LINK-3).
        if timing.ping_after >= timing.lost_after {
            return Err(SettingsError::Order("timing.ping_after must be below timing.lost_after"));
        }
        if limits.frame < MIN_SIZE || limits.line < MIN_SIZE || limits.message < MIN_SIZE || limits.queue < MIN_SIZE {
            return Err(SettingsError::Order("limits.frame, .line, .message and .queue must be at least 1024 bytes"));
        }
        if limits.line > MAX_LINE {
            return Err(SettingsError::Order("limits.line must not be above 1 GiB"));
        }
        // A frame travels whole in one message (FRAME-1), with its newline: a longer line could not come.
        if limits.message <= limits.line {
            return Err(SettingsError::Order("limits.message must be above limits.line: a line comes in one message"));
        }
        if limits.window == 0 || limits.window > MAX_WINDOW {
            return Err(SettingsError::Order("limits.window must be from 1 to 65536"));
        }
        if limits.hellos == 0 || limits.outbounds == 0 || limits.transmit == 0 || limits.forward_attempts == 0 {
            return Err(SettingsError::Order(
                "limits.hellos, .outbounds, .transmit and .forward_attempts must be at least 1",
            ));
        }
        Ok(Self { timing, limits, acks: AckPolicy::default() })
    }

    /// The default of everything but the window.
    ///
    /// # Errors
    /// [`SettingsError`] when the window is 0 or above 65536.
    pub fn with_window(window: usize) -> Result<Self, SettingsError> {
        Self::new(Timing::default(), Limits { window, ..Limits::default() })
    }

    /// The same with this policy. Default: [`AckPolicy::Required`].
    #[must_use]
    pub fn with_acks(self, acks: AckPolicy) -> Self {
        Self { acks, ..self }
    }

    /// When an entry leaves the buffer.
    pub fn acks(&self) -> AckPolicy {
        self.acks
    }

    /// The time limits.
    pub fn timing(&self) -> &Timing {
        &self.timing
    }

    /// The size limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}

const MIN_SIZE: usize = 1024;
const MAX_LINE: usize = 1 << 30;
const MAX_WINDOW: usize = 1 << 16;

/// What is wrong with timing or limits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A time limit that must not be zero is.
    #[error("timing.{0} must be above zero")]
    ZeroTiming(&'static str),
    /// Limits that contradict each other, or leave nothing.
    #[error("{0}")]
    Order(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_never_work_is_refused_by_name() {
        let timing = Timing { close: Duration::ZERO, ..Timing::default() };
        assert_eq!(Settings::new(timing, Limits::default()), Err(SettingsError::ZeroTiming("close")));
        let silence = |lost_after| Timing { lost_after, ..Timing::default() };
        let ping_after = Timing::default().ping_after;
        assert!(matches!(Settings::new(silence(ping_after), Limits::default()), Err(SettingsError::Order(_))));
        assert!(Settings::new(silence(ping_after + Duration::from_millis(1)), Limits::default()).is_ok());
        for limits in [
            Limits { frame: 10, ..Limits::default() },
            Limits { line: 2 << 30, message: usize::MAX, ..Limits::default() },
            Limits { line: 2048, message: 2048, ..Limits::default() },
            Limits { hellos: 0, ..Limits::default() },
        ] {
            assert!(matches!(Settings::new(Timing::default(), limits), Err(SettingsError::Order(_))));
        }
        // A frame comes whole in a message, with its newline. What is sent does not depend on what is received.
        let fits = Limits { line: 2047, message: 2048, frame: 4096, ..Limits::default() };
        assert!(Settings::new(Timing::default(), fits).is_ok());
        assert!(Settings::with_window(0).is_err() && Settings::with_window(1 << 20).is_err());
        assert_eq!(Settings::with_window(16), Ok(Settings::default()));
    }
}
