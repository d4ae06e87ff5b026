//! What is told about connections that were refused. Anybody can make them, so that there is a line a second at most.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use relay_proto::connector::{GatewayId, Refusal};
use relay_proto::end::LinkEnd;

/// From one line to the next.
const PAUSE: Duration = Duration::from_secs(1);

/// Tells of the first, and then of one a second, with the number of those between.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    /// When there may be a line again.
    next: Duration,
    untold: u64,
}

impl Refusals {
    /// There is one more. When it is to be told of, how many before it were not.
    fn count(&self, now: Duration) -> Option<u64> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now < told.next {
            told.untold = told.untold.saturating_add(1);
            return None;
        }
        told.next = now.saturating_add(PAUSE);
        Some(std::mem::take(&mut told.untold))
    }

    /// A connection of this address has ended before it was a link.
    pub(super) fn tell_end(&self, address: IpAddr, end: &LinkEnd, now: Duration) {
        let (status, reason) = match end {
            LinkEnd::Tls { detail, .. } => (None, format!("TLS: {detail}")),
            LinkEnd::Protocol { detail } => (None, detail.clone()),
            // An answer to a POST has no reason: it is told of with what was posted.
            LinkEnd::Refused { status: status @ 400.., reason } if !reason.is_empty() => {
                (Some(*status), reason.clone())
            }
            // Answered, or gone by itself.
            _ => return,
        };
        if let Some(untold) = self.count(now) {
            tracing::warn!(%address, status, reason, untold, "a connection was refused");
        }
    }

    /// The token of an upgrade was refused. `claimed`: the gateway that it names, if there is one.
    pub(super) fn tell_token(&self, address: IpAddr, claimed: Option<&GatewayId>, refusal: Refusal, now: Duration) {
        if let Some(untold) = self.count(now) {
            let gateway = claimed.map(GatewayId::as_str);
            tracing::warn!(%address, gateway, reason = %refusal, untold, "a gateway was refused");
        }
    }

    /// A connection of this address was dropped to make room.
    pub(super) fn tell_crowd(&self, address: IpAddr, now: Duration) {
        if let Some(untold) = self.count(now) {
            let why = "too many connections are no links: one was dropped, of the address that has the most";
            tracing::warn!(%address, untold, "{why}");
        }
    }

    /// A POST to this path was answered with this status.
    pub(super) fn tell_post(&self, address: IpAddr, path: &str, status: u16, now: Duration) {
        if let Some(untold) = Some(status).filter(|status| *status >= 400).and_then(|_| self.count(now)) {
            // The path is the client's words: not all of them belong in a log.
            let what = match path {
                "/relay/enroll" => "an enrolment",
                "/relay/policy" => "a policy",
                _ => "a request",
            };
            tracing::warn!(%address, status, untold, "{what} was refused");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::{Debug, Write as _};
    use std::sync::Arc;

    use relay_proto::wire::rustls::ServerConfig;
    use relay_proto::wire::rustls::server::ResolvesServerCertUsingSni;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tracing::field::{Field, Visit};
    use tracing::span;

    use super::*;
    use crate::{Config, Enrolment, serve};

    /// A log: a line for each event from information on, with its fields.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<String>>);

    struct Line(String);

    impl Visit for Line {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            let _ = write!(self.0, " {}={value:?}", field.name());
        }
    }

    impl tracing::Subscriber for Log {
        fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
            *metadata.level() <= tracing::Level::INFO
        }

        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }

        fn event(&self, event: &tracing::Event<'_>) {
            let mut line = Line(event.metadata().level().to_string());
            event.record(&mut line);
            let _ = writeln!(self.0.lock().unwrap(), "{}", line.0);
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    /// What the log says when this comes to a connector.
    async fn log_of(config: Config, request: &str) -> String {
        let log = Log::default();
        let _subscribed = tracing::subscriber::set_default(log.clone());
        let (connector, _events) = serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), config).unwrap();
        let mut stream = TcpStream::connect(connector.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
        log.0.lock().unwrap().clone()
    }

    fn upgrade(path: &str) -> String {
        format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
             Authorization: Bearer t0ken\r\n\r\n"
        )
    }

    #[tokio::test]
    async fn each_kind_of_refusal_leaves_one_line_without_a_secret() {
        let tls = ServerConfig::builder().with_no_client_auth();
        let tls = Arc::new(tls.with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new())));
        let config = || Config::new().gateway("gw", "s3cret-of-many-bytes");
        let post = "POST /relay/enroll HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t0ken\r\nContent-Length: 0\r\n\r\n";
        let web_page = upgrade("/relay").replace("Host: x", "Host: x\r\nOrigin: http://x");
        for (config, request, says) in [
            (
                config(),
                upgrade("/relay"),
                "message=a gateway was refused address=127.0.0.1 reason=the token is malformed",
            ),
            (Config::new(), web_page, "status=403 reason=\"this connector asks for no credentials"),
            (config(), upgrade("/elsewhere?t0ken"), "status=400 reason=\"the relay is at /relay\""),
            (config(), "t0ken".into(), "reason=\"the client does not speak HTTP\""),
            (config(), post.into(), "message=an enrolment was refused address=127.0.0.1 status=404"),
            (config().tls(tls), upgrade("/relay"), "reason=\"TLS: "),
        ] {
            let log = log_of(config, &request).await;
            assert!(log.starts_with("WARN ") && log.lines().count() == 1 && log.contains(says), "{says}: {log:?}");
            assert!(!log.contains("s3cret") && !log.contains("t0ken"), "{log}");
        }
    }

    // proves: CONN-8
    #[tokio::test]
    async fn a_refusal_names_the_gateway_that_is_claimed_if_there_is_one() {
        let config = || Config::new().gateway("gw", "s3cret-of-many-bytes");
        let log = log_of(config(), &upgrade("/relay").replace("t0ken", &token("gw", "wrong"))).await;
        assert!(log.contains(" gateway=\"gw\" reason=the token was not signed with a known secret"), "{log}");
        let log = log_of(config(), &upgrade("/relay").replace("t0ken", &token("stranger", "wrong"))).await;
        assert!(log.contains(" reason=the gateway is not known") && !log.contains("stranger"), "{log}");
    }

    fn token(id: &str, secret: &str) -> String {
        relay_proto::token::mint(id, &secret.into(), 0, 0).as_str().to_owned()
    }

    // proves: CONN-8
    #[tokio::test]
    async fn weak_secrets_and_tokens_are_warned_of_at_the_start() {
        let enrolment = |token: &str| Enrolment::new().token(&token.into());
        for (config, says) in [
            (
                Config::new().gateway("gw", "s3cret"),
                "the secret can be guessed: take 16 random bytes or more gateway=\"gw\" others=0",
            ),
            (Config::new().gateway("gw", "aaaaaaaaaaaaaaaaaaaaaa"), "the secret can be guessed"),
            (
                Config::new().enrolment(enrolment("aaaaaaaaaaaaaaaaaaaaaaaa")),
                "an enrolment or identity token can be guessed",
            ),
            (
                Config::new().enrolment(enrolment("a-token-of-many-bytes").identity(&"me".into())),
                "identity token can be",
            ),
        ] {
            let log = log_of(config, "").await;
            assert!(log.starts_with("WARN ") && log.lines().count() == 1 && log.contains(says), "{says}: {log:?}");
            assert!(!log.contains("s3cret") && !log.contains("aaaa"), "{log}");
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let error = serve(listener, Config::new().enrolment(enrolment("a-token-of-few"))).unwrap_err().to_string();
        assert!(error.contains("under 16 characters") && !error.contains("a-token"), "{error}");
    }

    #[test]
    fn refusals_without_verification_and_a_crowd_are_told() {
        let log = Log::default();
        let (here, end) = (IpAddr::from([127, 0, 0, 1]), LinkEnd::Refused { status: 429, reason: "too many".into() });
        tracing::subscriber::with_default(log.clone(), || {
            Refusals::default().tell_end(here, &end, PAUSE);
            Refusals::default().tell_crowd(here, PAUSE);
        });
        let log = log.0.lock().unwrap().clone();
        let says =
            ["a connection was refused address=127.0.0.1 status=429 reason=\"too many\"", "too many connections"];
        assert!(log.lines().zip(says).all(|(line, says)| line.contains(says)) && log.lines().count() == 2, "{log}");
    }

    #[tokio::test]
    async fn what_was_not_refused_leaves_none() {
        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        for request in [get("/healthz"), upgrade("/relay"), "GET /rel".into(), String::new()] {
            assert_eq!(log_of(Config::new(), &request).await, "", "{request}");
        }
    }

    #[test]
    fn the_first_is_told_and_then_one_a_second_with_the_number_of_the_others() {
        let refusals = Refusals::default();
        let counts = [0, 0, 999, 1000, 1001, 5000, 5001].map(|at| refusals.count(Duration::from_millis(at)));
        assert_eq!(counts, [Some(0), None, None, Some(2), None, Some(1), None]);
    }
}
