//! A part of the configuration that is mostly left as it is.

use alloc::sync::Arc;
use core::fmt;
use core::ops::Deref;

/// What a part is when nobody says otherwise.
pub(crate) trait Standard: PartialEq + 'static {
    /// One for the whole process.
    const STANDARD: &'static Self;
}

/// The standard, or one of its own, which clones share: thousands of gateways hold no copy of it each.
pub(crate) struct SharedDefault<T>(Option<Arc<T>>);

impl<T: Standard> SharedDefault<T> {
    pub(super) fn new(value: T) -> Self {
        Self((value != *T::STANDARD).then(|| Arc::new(value)))
    }
}

impl<T> Default for SharedDefault<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Clone for SharedDefault<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Standard> Deref for SharedDefault<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::STANDARD)
    }
}

impl<T: Standard + fmt::Debug> fmt::Debug for SharedDefault<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
