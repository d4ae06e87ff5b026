//! The handle.

use std::fmt;
use std::future::{Future, poll_fn};
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use super::error::{RequestError, sort};
use super::shared::{Shared, StateCondition};
use crate::action::Action;
use crate::frame::{ActionResult, Descriptor, RawJson};
use crate::gateway::{IdleId, IdleOutcome, Machine, NotSent, Outcome, RequestId, RequestOptions, State, Stats};
use crate::time::Now;

/// The handle of a gateway. Clones are of the same gateway; every method may be called from any thread.
///
/// Requests can be made while an event is being handled, and complete whether or not further events are read (REQ-7).
/// Dropping a future cancels its request: nothing of it stays behind (REQ-3). When every handle and the
/// [`Events`](super::Events) are dropped, the gateway shuts down.
pub struct Gateway {
    pub(super) shared: Arc<Shared>,
}

impl Gateway {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        shared.add_user();
        Self { shared }
    }

    // ── requests ─────────────────────────────────────────────────────────

    /// Any operation, exactly as it is: nothing is added to it, and nobody looks whether the connector supports it, as
    /// [`perform`](Self::perform) and the methods named after operations do. Ok means delivered.
    ///
    /// # Errors
    /// [`RequestError`] tells what was not sent (trying again cannot do it twice) from what may have been carried out,
    /// and both from what the connector refused.
    pub async fn request(&self, action: Action, options: RequestOptions) -> Result<ActionResult, RequestError> {
        sort(self.call(&action.to_json(), &options).await)
    }

    /// Any operation, as JSON (see [`action::from_json`](crate::action::from_json)), with its outcome as it is.
    ///
    /// The request is queued by this call, before the future is polled: requests leave in the order of the calls.
    pub fn call(&self, action: &RawJson, options: &RequestOptions) -> impl Future<Output = Outcome> + Send + use<> {
        Request::new(&self.shared, None, |machine, now| machine.request(action, options, now))
    }

    /// As [`perform`](Self::perform), with its outcome as it is; `source_platform` as [`Machine::perform`] has it.
    pub(super) async fn call_in(
        &self,
        action: Action,
        source_platform: Option<&str>,
        options: RequestOptions,
    ) -> Outcome {
        // Whoever waits is known before the request is made, and need not be registered for it afterwards.
        let waker = poll_fn(|context| Poll::Ready(context.waker().clone())).await;
        Request::new(&self.shared, Some(waker), |machine, now| machine.perform(action, source_platform, options, now))
            .await
    }

    /// Tells the connector that the agent stopped a session.
    ///
    /// # Errors
    /// [`NotSent`] when there is no ready link, or the frame is over the limit.
    pub fn interrupt(&self, session_key: &str, reason: Option<&str>) -> Result<(), NotSent> {
        self.shared.with(|inner, now| inner.gateway.machine_mut().interrupt(session_key, reason, now))
    }

    // ── time ─────────────────────────────────────────────────────────────

    /// Sets this gateway's clocks ahead, and does what is due then before it returns: deadlines are met, pings leave, dials
    /// are made. For tests of what takes minutes, on every runtime: set the deadline under test to hours, so that no machine
    /// is slow enough to meet it, and let the hours pass at the moment that the test is about.
    ///
    /// What the connector has sent and the driver has not read yet counts as sent after that.
    #[cfg(feature = "test-util")]
    pub fn advance(&self, by: std::time::Duration) {
        self.shared.advance(by);
    }

    // ── sleeping and waking ──────────────────────────────────────────────

    /// Asks the connector to stop delivering on this link; what comes waits in its buffer (IDLE-1).
    pub fn go_idle(&self) -> impl Future<Output = IdleOutcome> + Send + use<> {
        Idling { id: self.shared.idle(false), shared: self.shared.clone() }
    }

    /// Goes to sleep: idle, and on the acknowledgement the link is closed. The next dial comes on [`wake`](Self::wake),
    /// or after the dormant cadence, a second by default; [`hold_redial`](Self::hold_redial) parks it. Without the
    /// acknowledgement the link stays up (IDLE-2).
    pub fn go_dormant(&self) -> impl Future<Output = IdleOutcome> + Send + use<> {
        Idling { id: self.shared.idle(true), shared: self.shared.clone() }
    }

    /// Dials now, if there is no link (IDLE-2).
    pub fn wake(&self) {
        self.shared.with(|inner, now| inner.gateway.machine_mut().wake(now));
    }

    /// Parks the next dial from when it is due, for 60 s at the longest (IDLE-2).
    pub fn hold_redial(&self) {
        self.shared.with(|inner, now| inner.gateway.machine_mut().hold_redial(now));
    }

    /// Ends a hold (IDLE-2).
    pub fn release_redial(&self) {
        self.shared.with(|inner, now| inner.gateway.machine_mut().release_redial(now));
    }

    /// Makes a new link without waiting: dials, or closes the link there is and then dials. A peer that does not answer the
    /// close frame delays that by 250 ms (LINK-1).
    pub fn reconnect(&self) {
        self.shared.with(|inner, now| inner.gateway.machine_mut().reconnect(now));
    }

    /// Shuts down in order (CLOSE-1): begins at once, and is ready when it is done, with the terminal state. A second call
    /// is the same as the first. After a revocation there is nothing to shut down.
    pub fn close(&self) -> impl Future<Output = State> + Send + use<> {
        self.shared.with(|inner, now| inner.gateway.machine_mut().close(now));
        self.ended()
    }

    /// Waits for the end, without bringing it about: the terminal state.
    pub fn ended(&self) -> impl Future<Output = State> + Send + use<> {
        Watch { shared: self.shared.clone(), condition: StateCondition::End, watcher: None }
    }

    // ── views ────────────────────────────────────────────────────────────

    /// Where the gateway is in its life.
    pub fn state(&self) -> State {
        self.shared.state()
    }

    /// Waits for a state other than `since`, and returns it. States that come and go in between may be missed.
    pub async fn state_changed(&self, since: State) -> State {
        Watch { shared: self.shared.clone(), condition: StateCondition::OtherThan(since), watcher: None }.await
    }

    /// The default descriptor; `None` until a link is ready (HELLO-2).
    pub fn descriptor(&self) -> Option<Arc<Descriptor>> {
        self.shared.lock().gateway.machine().descriptor().cloned()
    }

    /// The descriptor of one platform.
    pub fn descriptor_for(&self, platform: &str) -> Option<Arc<Descriptor>> {
        self.shared.lock().gateway.machine().descriptor_for(platform).cloned()
    }

    /// What has been counted.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// How many wait for something.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.shared.waiting()
    }
}

impl Clone for Gateway {
    fn clone(&self) -> Self {
        Self::new(self.shared.clone())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.shared.remove_user();
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("state", &self.state()).finish_non_exhaustive()
    }
}

/// A request under way.
enum Request {
    Waiting {
        /// `None` once it has ended.
        shared: Option<Arc<Shared>>,
        id: RequestId,
        /// It was made with the waker of the task that polls it first, and was not polled yet.
        registered: bool,
    },
    /// Never begun, for a reason that was not told yet.
    Refused(Option<NotSent>),
}

impl Request {
    fn new(
        shared: &Arc<Shared>,
        waker: Option<Waker>,
        make: impl FnOnce(&mut Machine, Now) -> Result<RequestId, NotSent>,
    ) -> Self {
        let registered = waker.is_some();
        match shared.request(waker, make) {
            Ok(id) => Self::Waiting { shared: Some(shared.clone()), id, registered },
            Err(why) => Self::Refused(Some(why)),
        }
    }
}

impl Future for Request {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        match &mut *self {
            Self::Waiting { shared, id, registered } => {
                let Some(known) = shared else { return Poll::Pending };
                // Whatever has come of it since it was made has called that waker.
                if mem::take(registered) {
                    return Poll::Pending;
                }
                let outcome = ready!(known.poll_request(*id, context.waker()));
                // It has ended: nothing is left to cancel.
                *shared = None;
                Poll::Ready(outcome)
            }
            Self::Refused(why) => match why.take() {
                Some(why) => Poll::Ready(Outcome::NotSent(why)),
                None => Poll::Pending,
            },
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if let Self::Waiting { shared: Some(shared), id, .. } = self {
            shared.cancel(*id);
        }
    }
}

/// A call to go idle or dormant. Dropping it does not take the call back.
struct Idling {
    shared: Arc<Shared>,
    id: IdleId,
}

impl Future for Idling {
    type Output = IdleOutcome;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<IdleOutcome> {
        self.shared.poll_idle(self.id, context.waker())
    }
}

impl Drop for Idling {
    fn drop(&mut self) {
        self.shared.forget_idle(self.id);
    }
}

/// A wait for a state.
struct Watch {
    shared: Arc<Shared>,
    condition: StateCondition,
    watcher: Option<u64>,
}

impl Future for Watch {
    type Output = State;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<State> {
        let Self { shared, condition, watcher } = &mut *self;
        shared.poll_state(*condition, watcher, context.waker())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(watcher) = self.watcher {
            self.shared.forget_watcher(watcher);
        }
    }
}
