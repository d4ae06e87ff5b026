//! Upgrade tokens (TOKEN-1, TOKEN-2, TOKEN-3).
