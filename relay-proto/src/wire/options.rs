//! Limits of one link, and the types of its TLS configuration.

/// Limits of one link.
///
/// ```
/// let mut options = relay_proto::wire::LinkOptions::default();
/// options.max_message = 64 * 1024;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkOptions {
    /// The longest WebSocket message that is received, in bytes of payload, over all its fragments. A longer one ends
    /// the link with [`MessageTooLarge`](crate::end::LinkEnd::MessageTooLarge) as soon as a header announces it, and
    /// close code 1009 goes out. Default 2 MiB. A message in pieces is put together in a buffer that grows by
    /// doubling.
    ///
    /// This bounds a *message*. The limit of a relay frame (FRAME-3) is smaller, and is the machine's business.
    pub max_message: usize,
    /// The longest WebSocket frame that is received, in bytes of payload; no more than
    /// [`max_message`](Self::max_message) has an effect. A frame whose header announces more ends the link as a message that
    /// is too large does. Default 2 MiB: a message may have many relay frames, and most peers send it in one frame of the
    /// WebSocket. Memory is set aside for what came, and not for what a header announces.
    pub max_frame: usize,
    /// For a link that accepts: whether a GET that asks for no upgrade, a health check say, is the host's to answer, see
    /// [`ServerEvent::Get`](super::ServerEvent::Get). Default false: it is answered with 426.
    pub plain_get: bool,
    /// For a link that accepts: whether a POST below `/relay/`, by which gateways enrol, is the host's to answer, see
    /// [`ServerEvent::Post`](super::ServerEvent::Post). Default false: it is answered with 405.
    pub plain_post: bool,
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self { max_message: 2 << 20, max_frame: 2 << 20, plain_get: false, plain_post: false }
    }
}

/// The TLS configuration of a link that dials: trust, client certificate, versions. See `default_tls_config`
/// and `ClientTlsBuilder`, which make one.
///
/// Without the feature `tls` this is a type without values: the only thing to pass is `None`.
#[cfg(feature = "tls")]
pub type ClientTls = std::sync::Arc<rustls::ClientConfig>;
/// The TLS configuration of a link that dials. Without the feature `tls` there is none: pass `None`.
#[cfg(not(feature = "tls"))]
pub type ClientTls = core::convert::Infallible;

/// The TLS configuration of a link that accepts: certificate and key, versions.
///
/// Without the feature `tls` this is a type without values: the only thing to pass is `None`.
#[cfg(feature = "tls")]
pub type ServerTls = std::sync::Arc<rustls::ServerConfig>;
/// The TLS configuration of a link that accepts. Without the feature `tls` there is none: pass `None`.
#[cfg(not(feature = "tls"))]
pub type ServerTls = core::convert::Infallible;
