//! TLS over real sockets: whom a gateway trusts, what it shows, and how it says what went wrong.
//!
//! The other end is relay-connector with certificates that are made here. The platform's trust store is part of
//! most cases: it is what a gateway begins with, and knows none of these authorities.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod certificates;

use std::sync::Arc;

use certificates::{
    Authority, Made, NAMES, SERIAL, as_openssl_does, authority, expired, intermediate, leaf, not_yet_valid,
};
use relay_connector as connector;
use relay_proto::action::Action;
use relay_proto::client::Event;
use relay_proto::end::TlsProblem;
use relay_proto::frame::RawJson;
use relay_proto::gateway::{Cause, Config, NotSent, Outcome, RequestOptions, State};
use relay_proto::wire::rustls::client::WebPkiServerVerifier;
use relay_proto::wire::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use relay_proto::wire::rustls::crypto::CryptoProvider;
use relay_proto::wire::rustls::crypto::ring::{self, cipher_suite};
use relay_proto::wire::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use relay_proto::wire::rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme, version};
use relay_proto::wire::{ClientTls, ClientTlsBuilder, Fingerprint, ServerTls};
use relay_tests::app::{App, IsMessage as _, patient, quick};
use relay_tests::guard;
use relay_tests::host::Host;
use relay_tests::peer::Peer;
use tokio::net::TcpListener;

/// How a dial ended: nothing if a link came about and carried a message.
type Dialled = Result<(), (TlsProblem, String)>;

/// Dials `name`, where a connector answers with this TLS.
async fn dial(host: Host, name: &str, client: &ClientTls, server: &ServerTls) -> Dialled {
    let address = if name == "::1" { "[::1]:0" } else { "127.0.0.1:0" };
    let listener = TcpListener::bind(address).await.unwrap();
    let (connector, _events) =
        connector::serve(listener, patient(connector::Config::new().tls(server.clone()))).unwrap();
    let name = if name == "::1" { "[::1]" } else { name };
    let config = Config::new(format!("https://{name}:{}", connector.address().port()));
    let config = config.identity("discord", "bot-1").timing(quick());
    let mut app = App::start_with_tls(host, config, client.clone());
    let outcome = match app.event().await {
        Event::Ready { .. } => {
            let text = RawJson::parse(r#"{"text":"hi","source":{"platform":"discord","chat_id":"7"}}"#).unwrap();
            guard("room for a delivery", connector.gateway("default").deliver(&text)).await.unwrap();
            let message = app.message().await;
            assert_eq!(message.text(), "hi");
            message.ack();
            Ok(())
        }
        Event::Disconnected { ended, retry_in } => {
            let Cause::Tls(problem) = ended.cause else { panic!("not TLS: {ended}") };
            assert!(ended.to_string().contains(problem.as_str()), "{ended}");
            assert!(retry_in.is_some(), "certificates are renewed, and clocks set: {ended}");
            Err((problem, ended.reason))
        }
        other => panic!("neither a link nor none: {other:?}"),
    };
    guard("the end of the connector", connector.shutdown()).await;
    outcome
}

/// The dial fails like this, and the reason has these words in it.
async fn fails(host: Host, name: &str, client: &ClientTls, server: &ServerTls, problem: TlsProblem, words: &[&str]) {
    let (found, reason) = dial(host, name, client, server).await.expect_err("a link");
    assert_eq!(found, problem, "{reason}");
    for word in words {
        assert!(reason.contains(word), "{word}: {reason}");
    }
}

fn tls(builder: ClientTlsBuilder) -> ClientTls {
    builder.build().unwrap()
}

/// Every way to trust a certificate that `issuer` has made, for `localhost`.
fn ways_to_trust(made: &Made, issuer: &Authority) -> Vec<(&'static str, ClientTls)> {
    let fingerprint = Fingerprint::of(&made.chain[0]);
    vec![
        ("its issuer", tls(ClientTlsBuilder::new().roots(issuer.pem()))),
        ("only its issuer", tls(ClientTlsBuilder::new().without_platform_roots().roots(issuer.der()))),
        ("itself", tls(ClientTlsBuilder::new().roots(&made.chain_pem))),
        ("its fingerprint", tls(ClientTlsBuilder::new().pin("localhost", fingerprint))),
    ]
}

/// The same for certificates that nobody else has issued.
fn ways_to_trust_self_signed(made: &Made) -> Vec<(&'static str, ClientTls)> {
    let fingerprint = Fingerprint::of(&made.chain[0]);
    vec![
        ("itself", tls(ClientTlsBuilder::new().roots(&made.chain[0]))),
        ("only itself", tls(ClientTlsBuilder::new().without_platform_roots().roots(&made.chain_pem))),
        ("its fingerprint", tls(ClientTlsBuilder::new().pin("LOCALHOST", fingerprint))),
        ("its name", tls(ClientTlsBuilder::new().allow_self_signed("localhost"))),
        ("its name alone", tls(ClientTlsBuilder::new().without_platform_roots().allow_self_signed("localhost"))),
    ]
}

// proves: DIAL-7
async fn a_certificate_is_trusted_by_its_issuer_by_itself_and_by_its_fingerprint(host: Host) {
    let issuer = authority("a private authority");
    let made = Made::by(&issuer, &leaf(&NAMES));
    for (way, client) in ways_to_trust(&made, &issuer) {
        assert_eq!(dial(host, "localhost", &client, &made.server()).await, Ok(()), "{way}");
    }
    // The chain may have links, and a file any number of roots.
    let between = intermediate("something between", &issuer);
    let made = Made::by(&between, &leaf(&NAMES)).with(&between);
    let file = format!("# Ours\n{}\n{}", authority("another").pem(), issuer.pem());
    let client = tls(ClientTlsBuilder::new().roots(file).roots(authority("a third").pem()));
    assert_eq!(dial(host, "localhost", &client, &made.server()).await, Ok(()));
}

// proves: DIAL-7
async fn self_signed_certificates_are_trusted_when_they_were_named(host: Host) {
    for params in [leaf(&NAMES), as_openssl_does(leaf(&NAMES))] {
        let made = Made::by_itself(&params);
        for (way, client) in ways_to_trust_self_signed(&made) {
            assert_eq!(dial(host, "localhost", &client, &made.server()).await, Ok(()), "{way}");
        }
    }
}

async fn addresses_have_certificates_as_names_have(host: Host) {
    let issuer = authority("a private authority");
    let made = Made::by(&issuer, &leaf(&NAMES));
    let fingerprint = Fingerprint::of(&made.chain[0]);
    let client = tls(ClientTlsBuilder::new().roots(issuer.pem()).pin("[::1]", fingerprint));
    // Not every machine has IPv6.
    let names = NAMES.into_iter().filter(|name| *name != "::1" || std::net::TcpListener::bind("[::1]:0").is_ok());
    for name in names {
        assert_eq!(dial(host, name, &client, &made.server()).await, Ok(()), "{name}");
    }
    let localhost = Made::by(&issuer, &leaf(&["localhost"]));
    let words = ["is for localhost", "not for 127.0.0.1"];
    fails(host, "127.0.0.1", &client, &localhost.server(), TlsProblem::WrongName, &words).await;
}

// proves: DIAL-7
async fn however_it_is_trusted_a_certificate_has_to_be_for_the_name(host: Host) {
    let issuer = authority("a private authority");
    let words = ["is for a.example, 10.0.0.1", "not for localhost"];
    let made = Made::by(&issuer, &leaf(&["a.example", "10.0.0.1"]));
    for (_, client) in ways_to_trust(&made, &issuer) {
        fails(host, "localhost", &client, &made.server(), TlsProblem::WrongName, &words).await;
    }
    for params in [leaf(&["a.example", "10.0.0.1"]), as_openssl_does(leaf(&["a.example", "10.0.0.1"]))] {
        let made = Made::by_itself(&params);
        for (_, client) in ways_to_trust_self_signed(&made) {
            fails(host, "localhost", &client, &made.server(), TlsProblem::WrongName, &words).await;
        }
    }
    let nameless = Made::by(&issuer, &leaf(&[]));
    let client = tls(ClientTlsBuilder::new().roots(issuer.pem()));
    fails(host, "localhost", &client, &nameless.server(), TlsProblem::WrongName, &["names nobody"]).await;
}

// proves: DIAL-7
async fn however_it_is_trusted_a_certificate_has_to_be_valid_now(host: Host) {
    let issuer = authority("a private authority");
    for (params, problem, word) in
        [(expired(), TlsProblem::Expired, "expired"), (not_yet_valid(), TlsProblem::NotYetValid, "valid only in")]
    {
        let made = Made::by(&issuer, &params);
        for (_, client) in ways_to_trust(&made, &issuer) {
            fails(host, "localhost", &client, &made.server(), problem, &[word, "days", "clock"]).await;
        }
        for params in [params.clone(), as_openssl_does(params.clone())] {
            let made = Made::by_itself(&params);
            for (_, client) in ways_to_trust_self_signed(&made) {
                fails(host, "localhost", &client, &made.server(), problem, &[word, "days", "clock"]).await;
            }
        }
    }
}

// proves: DIAL-7
async fn an_issuer_that_nobody_trusts(host: Host) {
    let (ours, theirs) = (authority("a private authority"), authority("somebody else"));
    let made = Made::by(&theirs, &leaf(&NAMES));
    let namesake = Made::by(&authority("a private authority"), &leaf(&NAMES));
    for client in [
        tls(ClientTlsBuilder::new()),
        tls(ClientTlsBuilder::new().roots(ours.pem())),
        tls(ClientTlsBuilder::new().without_platform_roots().roots(ours.pem())),
        tls(ClientTlsBuilder::new().allow_self_signed("localhost")),
        tls(ClientTlsBuilder::new().without_platform_roots().allow_self_signed("localhost")),
    ] {
        fails(host, "localhost", &client, &made.server(), TlsProblem::UnknownIssuer, &["trust its issuer"]).await;
        // It is the key that counts, and not the name.
        fails(host, "localhost", &client, &namesake.server(), TlsProblem::UnknownIssuer, &["nobody whom"]).await;
    }
    // A chain with a link missing.
    let between = intermediate("something between", &ours);
    let made = Made::by(&between, &leaf(&NAMES));
    let client = tls(ClientTlsBuilder::new().roots(ours.pem()));
    fails(host, "localhost", &client, &made.server(), TlsProblem::UnknownIssuer, &["whole chain"]).await;
}

// proves: DIAL-7
async fn a_self_signed_certificate_that_was_not_named(host: Host) {
    for params in [leaf(&NAMES), as_openssl_does(leaf(&NAMES))] {
        let (made, other) = (Made::by_itself(&params), Made::by_itself(&params));
        let fingerprint = Fingerprint::of(&made.chain[0]).to_string();
        for client in [
            tls(ClientTlsBuilder::new()),
            // One with the same names, but not this one.
            tls(ClientTlsBuilder::new().roots(&other.chain_pem)),
            tls(ClientTlsBuilder::new().without_platform_roots().roots(&other.chain_pem)),
            // It is allowed elsewhere.
            tls(ClientTlsBuilder::new().allow_self_signed("a.example").allow_self_signed("127.0.0.1")),
        ] {
            let (problem, reason) = dial(host, "localhost", &client, &made.server()).await.expect_err("a link");
            assert_eq!(problem, TlsProblem::UnknownIssuer, "{reason}");
            assert!(reason.contains("self-signed") && reason.contains(&fingerprint), "{reason}");
        }
    }
}

// proves: DIAL-7
async fn beside_a_pinned_certificate_no_other_counts(host: Host) {
    let issuer = authority("a private authority");
    let (old, new) = (Made::by(&issuer, &leaf(&NAMES)), Made::by(&issuer, &leaf(&NAMES)));
    let fingerprints = [&old, &new].map(|made| Fingerprint::of(&made.chain[0]));
    // Everything else would trust it.
    let trusting = || ClientTlsBuilder::new().roots(issuer.pem()).roots(&new.chain_pem).allow_self_signed("localhost");
    let client = tls(trusting().pin("localhost", fingerprints[0]));
    assert_eq!(dial(host, "localhost", &client, &old.server()).await, Ok(()));
    let words = ["not the pinned one", &fingerprints[1].to_string()];
    fails(host, "localhost", &client, &new.server(), TlsProblem::BadCertificate, &words).await;
    // Another name is another matter, and several pins are alternatives.
    assert_eq!(dial(host, "127.0.0.1", &client, &new.server()).await, Ok(()));
    let client = tls(ClientTlsBuilder::new().pin("localhost", fingerprints[0]).pin("localhost", fingerprints[1]));
    assert_eq!(dial(host, "localhost", &client, &new.server()).await, Ok(()));
    assert_eq!(dial(host, "localhost", &client, &old.server()).await, Ok(()));
}

// proves: DIAL-7
async fn a_client_certificate_is_shown_and_its_refusal_is_not_a_lost_link(host: Host) {
    let (issuer, clients) = (authority("a private authority"), authority("of the clients"));
    let made = Made::by(&issuer, &leaf(&NAMES));
    let [good, foreign] = [&clients, &issuer].map(|issuer| Made::by(issuer, &leaf(&["gw-1"])));
    let trusting = || ClientTlsBuilder::new().roots(issuer.pem());
    for versions in [&version::TLS13, &version::TLS12] {
        let server = made.server_with(ring::default_provider(), &[versions], Some(&clients));
        let client = tls(trusting().client_certificate(&good.chain_pem, &good.key_pem));
        assert_eq!(dial(host, "localhost", &client, &server).await, Ok(()));
        fails(host, "localhost", &tls(trusting()), &server, TlsProblem::ClientCertificate, &["got none"]).await;
        let client = tls(trusting().client_certificate(&foreign.chain_pem, &foreign.key_pem));
        fails(host, "localhost", &client, &server, TlsProblem::ClientCertificate, &["does not accept"]).await;
    }
}

// proves: DIAL-7
async fn an_own_configuration_can_know_what_was_revoked(host: Host) {
    let issuer = authority("a private authority");
    let list = rcgen::CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2001, 1, 1),
        next_update: rcgen::date_time_ymd(2999, 1, 1),
        crl_number: 1.into(),
        issuing_distribution_point: None,
        revoked_certs: vec![rcgen::RevokedCertParams {
            serial_number: SERIAL.into(),
            revocation_time: rcgen::date_time_ymd(2001, 1, 1),
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&issuer).unwrap();
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(issuer.der().clone()).unwrap();
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_webpki_verifier(verifier.with_crls([list.der().clone()]).build().unwrap())
        .with_no_client_auth();
    let client = Arc::new(client);
    let made = Made::by(&issuer, &leaf(&NAMES));
    fails(host, "localhost", &client, &made.server(), TlsProblem::Revoked, &["revoked"]).await;
    let mut spared = leaf(&NAMES);
    spared.serial_number = Some(8.into());
    assert_eq!(dial(host, "localhost", &client, &Made::by(&issuer, &spared).server()).await, Ok(()));
}

// proves: DIAL-7
async fn the_name_of_the_host_is_sent(host: Host) {
    let issuer = authority("a private authority");
    let client = tls(ClientTlsBuilder::new().roots(issuer.pem()));
    // Whoever names nobody, or another, gets no certificate at all.
    for (served, works) in [("localhost", true), ("a.example", false)] {
        let made = Made::by(&issuer, &leaf(&["localhost", "a.example"]));
        if works {
            assert_eq!(dial(host, "localhost", &client, &made.server_for(served)).await, Ok(()));
        } else {
            fails(host, "localhost", &client, &made.server_for(served), TlsProblem::Handshake, &["alert"]).await;
        }
    }
}

/// Panics at every certificate, as a verifier of an application's own may.
#[derive(Debug)]
struct Panics;

impl ServerCertVerifier for Panics {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        panic!("as told")
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        unreachable!()
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        unreachable!()
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Whatever thread or task it takes with it: nobody waits for a gateway that nothing drives.
// proves: CLOSE-1
async fn a_verifier_that_panics_ends_the_gateway_and_the_application_is_told(host: Host) {
    if host == Host::Readiness {
        // One thread drives every gateway of this process, and would end for all of them.
        return;
    }
    let made = Made::by_itself(&leaf(&NAMES));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tls = connector::Config::new().tls(made.server());
    let (connector, _events) = connector::serve(listener, patient(tls)).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Panics))
        .with_no_client_auth();
    let config = Config::new(format!("https://localhost:{}", connector.address().port()));
    let config = config.identity("discord", "bot-1").timing(quick());
    let mut app = App::start_with_tls(host, config, Arc::new(client));
    let waits = app.gateway.call(&Action::typing("c1").to_json(), &RequestOptions::default().wait_for_link());
    assert_eq!(guard("the end", app.gateway.ended()).await, State::Closed);
    // Why comes before that, where the host can say it.
    let mut last = None;
    while let Some(event) = guard("the end of events", app.events.next()).await {
        last = Some(event);
    }
    assert!(matches!(last, Some(Event::Closed)), "{last:?}");
    assert_eq!(guard("the end of the request", waits).await, Outcome::NotSent(NotSent::ShutDown));
}

async fn a_peer_that_does_not_speak_tls(host: Host) {
    for answer in ["HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "SSH-2.0-OpenSSH_9.6\r\n", "?"] {
        let peer = Peer::bind().await;
        let url = peer.url().replace("http:", "https:");
        let config = Config::new(url).identity("discord", "bot-1").timing(quick());
        let mut app = App::start_with_tls(host, config, tls(ClientTlsBuilder::new()));
        let mut raw = peer.accept_raw().await;
        raw.read().await;
        raw.write(answer).await;
        if answer.len() > 1 {
            let (ended, _) = app.disconnected().await;
            assert_eq!(ended.cause, Cause::Tls(TlsProblem::Handshake), "{ended}");
            assert!(ended.reason.contains("does not speak TLS") && ended.reason.contains("http://"), "{ended}");
        } else {
            // Too short to tell.
            raw.finish().await;
            assert!(matches!(app.disconnected().await.0.cause, Cause::Lost | Cause::Tls(TlsProblem::Handshake)));
        }
    }
}

async fn ends_that_have_nothing_in_common(host: Host) {
    let issuer = authority("a private authority");
    let made = Made::by(&issuer, &leaf(&NAMES));
    let mut roots = RootCertStore::empty();
    roots.add(issuer.der().clone()).unwrap();
    for (server, client, suite) in [
        (&version::TLS13, &version::TLS12, None),
        (&version::TLS12, &version::TLS13, None),
        (&version::TLS13, &version::TLS13, Some(cipher_suite::TLS13_AES_128_GCM_SHA256)),
        (&version::TLS12, &version::TLS12, Some(cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)),
    ] {
        let mut provider = ring::default_provider();
        let server = match suite {
            Some(suite) => {
                provider.cipher_suites.retain(|other| *other != suite);
                let only = CryptoProvider { cipher_suites: vec![suite], ..ring::default_provider() };
                made.server_with(only, &[server], None)
            }
            None => made.server_with(provider.clone(), &[server], None),
        };
        let client = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[client])
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        let words = ["have no TLS version"];
        fails(host, "localhost", &Arc::new(client), &server, TlsProblem::Handshake, &words).await;
    }
}

async fn an_own_configuration_that_offers_another_protocol(host: Host) {
    let issuer = authority("a private authority");
    let made = Made::by(&issuer, &leaf(&NAMES));
    let mut client = ClientConfig::clone(&tls(ClientTlsBuilder::new().roots(issuer.pem())));
    for (protocols, works) in [
        (vec![], true),
        (vec![b"http/1.1".to_vec()], true),
        (vec![b"h2".to_vec()], false),
        (vec![b"http/1.1".to_vec(), b"h2".to_vec()], false),
    ] {
        client.alpn_protocols = protocols;
        let client = Arc::new(client.clone());
        if works {
            assert_eq!(dial(host, "localhost", &client, &made.server()).await, Ok(()));
        } else {
            fails(host, "localhost", &client, &made.server(), TlsProblem::Configuration, &["h2"]).await;
        }
    }
}

relay_tests::suite!(
    a_certificate_is_trusted_by_its_issuer_by_itself_and_by_its_fingerprint,
    self_signed_certificates_are_trusted_when_they_were_named,
    addresses_have_certificates_as_names_have,
    however_it_is_trusted_a_certificate_has_to_be_for_the_name,
    however_it_is_trusted_a_certificate_has_to_be_valid_now,
    an_issuer_that_nobody_trusts,
    a_self_signed_certificate_that_was_not_named,
    beside_a_pinned_certificate_no_other_counts,
    a_client_certificate_is_shown_and_its_refusal_is_not_a_lost_link,
    an_own_configuration_can_know_what_was_revoked,
    the_name_of_the_host_is_sent,
    a_verifier_that_panics_ends_the_gateway_and_the_application_is_told,
    a_peer_that_does_not_speak_tls,
    ends_that_have_nothing_in_common,
    an_own_configuration_that_offers_another_protocol,
);
