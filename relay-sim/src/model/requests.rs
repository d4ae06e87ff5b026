//! Requests (REQ-1 to REQ-3).

use super::{Millis, Model, Phase, Request};

impl Model {
    /// A request is made. Whether it is taken up.
    pub fn request(&mut self, number: usize, timeout: Millis, patient: bool) -> bool {
        let ready = self.phase == Phase::Ready;
        if self.is_over() || self.shutdown.is_some() || !(ready || patient) {
            return false;
        }
        self.requests.push(Request { number, deadline: self.now + timeout, patient, written: ready });
        if ready {
            self.seen.written.push(format!("outbound {number}"));
        }
        true
    }

    /// The caller of a request no longer waits.
    pub fn cancel(&mut self, number: usize) {
        self.requests.retain(|request| request.number != number);
        self.advance_shutdown();
    }

    /// A result arrives.
    pub fn result(&mut self, number: usize) {
        self.hear_if_open();
        if self.is_linked() && self.requests.iter().any(|request| request.number == number && request.written) {
            self.end_request(number, "result");
        }
    }

    pub(super) fn end_request(&mut self, number: usize, how: &str) {
        self.requests.retain(|request| request.number != number);
        self.seen.ended.push(format!("request {number} {how}"));
    }
}
