//! What the host has to do next: what both halves need of it.

use alloc::collections::VecDeque;

/// Notices beyond this many that the host has not taken are not told, only counted where they arise: one message can hold
/// a million bad lines.
const MAX_NOTICES: usize = 16;

/// Outputs, oldest first.
#[derive(Clone, Debug)]
pub(crate) struct Outbox<O> {
    outputs: VecDeque<O>,
    notices: usize,
}

impl<O> Default for Outbox<O> {
    fn default() -> Self {
        Self { outputs: VecDeque::new(), notices: 0 }
    }
}

impl<O> Outbox<O> {
    pub(crate) fn push(&mut self, output: O) {
        self.outputs.push_back(output);
    }

    /// Appends something that is only worth a line in a log.
    pub(crate) fn push_notice(&mut self, notice: O) {
        if self.notices < MAX_NOTICES {
            self.notices += 1;
            self.outputs.push_back(notice);
        }
    }

    /// The oldest output. An empty outbox holds no memory.
    pub(crate) fn pop(&mut self) -> Option<O> {
        let output = self.outputs.pop_front();
        if self.outputs.is_empty() {
            *self = Self::default();
        }
        output
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.outputs.is_empty()
    }
}
