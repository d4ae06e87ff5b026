//! Enrolment: how a gateway gets its credentials, and tells its policy, over HTTP beside the link (ENROLL-1 to ENROLL-6,
//! POLICY-1).
//!
//! A [`Service`] is the connector's HTTP side. It makes a [`Call`]: the bytes of a request, and where to send them. What
//! comes back goes into an [`AnswerReader`], and its [`Reply`] into [`Call::read`], which gives what was granted, or a
//! typed error, or the call to make next, after a redirect.
//!
//! ```
//! use relay_proto::enroll::{AnswerReader, Credential, Service, Step};
//!
//! let service = Service::parse("wss://connector.example/relay")?;
//! let call = service.enroll(&Credential::new("identity"), &Credential::new("one-time"), "my-gateway")?;
//! assert_eq!(call.url(), "https://connector.example/relay/enroll");
//!
//! // Connect to `call.host()` and `call.port()`, with TLS if `call.is_tls()`, and send `call.request()`. Then:
//! let mut answer = AnswerReader::default();
//! let body = r#"{"secret":"s3cret","gatewayId":"my-gateway"}"#;
//! let bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
//! assert!(answer.read(bytes.as_bytes())?, "complete");
//! let Step::Done(granted) = call.read(answer.finish()?)? else { panic!("a redirect") };
//! assert_eq!((granted.gateway_id.as_str(), granted.secret.expose()), ("my-gateway", "s3cret"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A way through an HTTP proxy begins with `call.tunnel_request(&proxy)`, which tells whether the call may go there.
//!
//! On threads, `relay_blocking::enroll` makes the connection, too. The other half is [`server`]: what a connector needs to
//! serve this.

mod answer;
mod credential;
mod error;
mod http;
mod policy;
pub mod server;
mod service;
#[cfg(test)]
mod tests;

pub use self::answer::Granted;
pub use self::credential::Credential;
pub use self::error::EnrollError;
pub use self::http::{AnswerReader, Reply};
pub use self::policy::{Policy, Provision};
pub use self::service::{Answer, Call, Service, Step};

/// The longest answer that is read, in bytes of its body (ENROLL-3).
pub const MAX_ANSWER: usize = 64 << 10;
