//! Deliveries that are not safe yet.

use std::collections::{BTreeMap, VecDeque};
use std::future::{poll_fn, ready};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use relay_connector::{DeliverError, EntryId};

pub(super) type Accepted = Result<EntryId, DeliverError>;

/// One delivery.
pub(super) struct Delivery {
    pub(super) gateway: String,
    /// The `id` of its line.
    pub(super) id: Option<String>,
    /// The number of its line.
    pub(super) line: u64,
    /// The bytes of its line.
    pub(super) bytes: usize,
}

struct Pending {
    delivery: Delivery,
    accepted: Pin<Box<dyn Future<Output = Accepted>>>,
}

/// Deliveries under way. Those of one gateway end in the order in which they began.
#[derive(Default)]
pub(super) struct Accepting {
    of: BTreeMap<String, VecDeque<Pending>>,
    count: usize,
    bytes: usize,
}

impl Accepting {
    /// Begins one. What it comes to at once is the answer, unless an earlier one of its gateway has none yet: then it waits
    /// behind that one.
    pub(super) fn begin(
        &mut self,
        delivery: Delivery,
        accepted: impl Future<Output = Accepted> + 'static,
    ) -> Option<(Delivery, Accepted)> {
        let mut accepted: Pin<Box<dyn Future<Output = Accepted>>> = Box::pin(accepted);
        // Even behind others it takes its place now. Its waker is set when it is the first.
        if let Poll::Ready(result) = accepted.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            // The store may have committed this one and those before it at once, before their answers were looked at.
            if !self.of.contains_key(&delivery.gateway) {
                return Some((delivery, result));
            }
            accepted = Box::pin(ready(result));
        }
        self.count += 1;
        self.bytes += delivery.bytes;
        self.of.entry(delivery.gateway.clone()).or_default().push_back(Pending { delivery, accepted });
        None
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The next one to end; never, when there is none. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> (Delivery, Accepted) {
        poll_fn(|context| self.poll(context)).await
    }

    /// One that has ended already.
    pub(super) fn ended(&mut self) -> Option<(Delivery, Accepted)> {
        match self.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(ended) => Some(ended),
            Poll::Pending => None,
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<(Delivery, Accepted)> {
        let mut ended = None;
        for (gateway, pending) in &mut self.of {
            let Some(first) = pending.front_mut() else { continue };
            if let Poll::Ready(accepted) = first.accepted.as_mut().poll(context) {
                ended = Some((gateway.clone(), accepted));
                break;
            }
        }
        let Some((gateway, accepted)) = ended else { return Poll::Pending };
        let Some(pending) = self.of.get_mut(&gateway) else { return Poll::Pending };
        let Some(Pending { delivery, .. }) = pending.pop_front() else { return Poll::Pending };
        if pending.is_empty() {
            self.of.remove(&gateway);
        }
        self.count -= 1;
        self.bytes -= delivery.bytes;
        Poll::Ready((delivery, accepted))
    }
}

#[cfg(test)]
mod tests {
    use relay_connector::Refused;
    use tokio::sync::oneshot;

    use super::*;

    fn delivery(gateway: &str, line: u64) -> Delivery {
        Delivery { gateway: gateway.into(), id: None, line, bytes: 10 }
    }

    fn refused() -> Accepted {
        Err(DeliverError::Refused(Refused::ShutDown))
    }

    #[test]
    fn those_of_one_gateway_are_answered_in_order_even_if_a_later_one_was_faster() {
        let mut accepting = Accepting::default();
        let (told, first) = oneshot::channel::<()>();
        let first = async move {
            let _ = first.await;
            refused()
        };
        assert!(accepting.begin(delivery("a", 1), first).is_none());
        assert!(accepting.begin(delivery("a", 2), ready(refused())).is_none(), "the first has no answer yet");
        let (other, _) = accepting.begin(delivery("b", 3), ready(refused())).unwrap();
        assert_eq!((other.line, accepting.len(), accepting.bytes()), (3, 2, 20));
        assert!(accepting.ended().is_none());
        told.send(()).unwrap();
        let lines: Vec<u64> = std::iter::from_fn(|| accepting.ended()).map(|(delivery, _)| delivery.line).collect();
        assert_eq!((lines, accepting.len(), accepting.bytes()), (vec![1, 2], 0, 0));
        assert_eq!(accepting.begin(delivery("a", 4), ready(refused())).unwrap().0.line, 4);
    }
}
