//! TLS and WebSocket over memory.
