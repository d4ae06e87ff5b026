//! What a chat adapter adds on top of the link.
