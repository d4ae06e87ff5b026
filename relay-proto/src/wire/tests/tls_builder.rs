//! What a TLS configuration is made of, and what is said of inputs that cannot be used.

use std::sync::Arc;

use super::{carry, rustls, rustls::pki_types::PrivateKeyDer};
use crate::{
    end::{LinkEnd, TlsProblem},
    target::Target,
    wire::*,
};

struct Made {
    certificate: String,
    der: Vec<u8>,
    key: String,
}

fn made() -> Made {
    let made = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
    Made { certificate: made.cert.pem(), der: made.cert.der().to_vec(), key: made.signing_key.serialize_pem() }
}

#[test]
fn every_wrong_input_is_named_and_no_key_is_shown() {
    let (one, other) = (made(), made());
    let new = ClientTlsBuilder::new;
    let damaged = one.key.replace("PRIVATE KEY-----\n", "PRIVATE KEY-----\n!");
    let cut = one.key.get(..80).unwrap();
    // A key that is one, by its name, and nothing within.
    let empty = one.key.lines().enumerate().filter(|(at, _)| *at != 1).map(|(_, line)| format!("{line}\n"));
    let empty: String = empty.collect();
    for (builder, expected) in [
        (new().roots("nothing"), "added roots, number 1: there is no certificate in it (PEM is expected)"),
        (new().roots(&one.certificate).roots(&one.key), "added roots, number 2: there is no certificate"),
        (new().roots(one.certificate.replace("-----END", "")), "added roots, number 1: it is damaged"),
        (new().roots(one.der.get(..100).unwrap()), "added roots, number 1: there is no usable certificate"),
        (new().client_certificate("", &one.key), "client certificate: there is no certificate"),
        (new().client_certificate(&one.certificate, "?"), "private key: there is no private key"),
        (new().client_certificate(&one.certificate, &damaged), "private key: it is damaged"),
        (new().client_certificate(&one.certificate, cut), "private key: it is damaged"),
        (new().client_certificate(&one.certificate, &empty), "private key: it is of no kind"),
        (
            new().client_certificate(&one.certificate, one.key.replace("PRIVATE", "ENCRYPTED PRIVATE")),
            "openssl pkey -in",
        ),
        (
            new().client_certificate(
                &one.certificate,
                "-----BEGIN RSA {}-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA {}-----\n"
                    .replace("{}", "PRIVATE KEY"),
            ),
            "it is encrypted with a passphrase",
        ),
        (new().client_certificate(&one.certificate, &other.key), "not that of the client certificate"),
        (new().client_certificate(one.certificate.replace("MII", "AII"), &one.key), "the client certificate: "),
        (new().pin("no name", Fingerprint::of(b"")), "`no name` is neither"),
        (new().allow_self_signed(""), "`` is neither"),
        (new().without_platform_roots(), "without the platform's roots, others have to be added"),
        // The first is told.
        (new().client_certificate("", "").roots("?"), "client certificate: there is no certificate"),
    ] {
        let shown = format!("{builder:?}");
        let error = builder.build().expect_err(expected);
        let told = format!("{error} {error:?} {shown}");
        assert!(error.to_string().contains(expected), "{expected}: {error}");
        assert!(one.key.lines().filter(|line| !line.starts_with('-')).all(|line| !told.contains(line)), "{told}");
    }
}

#[test]
fn a_byte_order_mark_in_front_of_pem_does_no_harm() {
    let made = made();
    let marked = |pem: &str| format!("\u{feff}{pem}");
    let builder = ClientTlsBuilder::new().without_platform_roots().roots(marked(&made.certificate));
    builder.client_certificate(marked(&made.certificate), marked(&made.key)).build().unwrap();
}

#[test]
fn what_is_made_speaks_http_and_names_the_host() {
    let made = made();
    let builder = ClientTlsBuilder::new().without_platform_roots();
    let config = builder.roots(&made.certificate).client_certificate(&made.certificate, &made.key).build().unwrap();
    assert_eq!(config.alpn_protocols, [b"http/1.1"]);
    assert!(config.enable_sni && config.client_auth_cert_resolver.has_certs());
    match default_tls_config() {
        Ok(config) => assert_eq!(config.alpn_protocols, [b"http/1.1"]),
        // A machine without a trust store.
        Err(end) => assert!(matches!(end, LinkEnd::Tls { .. }), "{end:?}"),
    }
}

#[test]
fn a_host_is_the_same_however_it_is_written() {
    // proves: DIAL-7
    let made = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let server = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let server = server.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let server = Arc::new(server.with_single_cert(vec![made.cert.der().clone()], key).unwrap());
    let (right, wrong) = (Fingerprint::of(made.cert.der()), Fingerprint::of(b"another"));
    for (url, name) in [
        ("wss://localhost", "localhost."),
        ("wss://localhost.", "localhost"),
        ("wss://LOCALHOST", "localhost"),
        ("wss://localhost", "LocalHost"),
    ] {
        // A pin that is taken for another host's would not keep anybody out.
        for (pin, opens) in [(right, true), (wrong, false)] {
            let client = ClientTlsBuilder::new().without_platform_roots().roots(made.cert.der()).pin(name, pin);
            let target = Target::parse(url).unwrap();
            let client = client.build().unwrap();
            let mut client = ClientLink::new(&target, None, &LinkOptions::default(), Some(client)).unwrap();
            let mut server = ServerLink::new(&LinkOptions::default(), Some(server.clone())).unwrap();
            let (of_client, _) = carry(&mut client, &mut server, usize::MAX);
            match &of_client[..] {
                [LinkEvent::Opened] => assert!(opens, "{url} {name}"),
                [LinkEvent::Ended(LinkEnd::Tls { problem: TlsProblem::BadCertificate, detail })] => {
                    assert!(!opens && detail.contains("pinned"), "{url} {name}: {detail}");
                }
                other => panic!("{url} {name}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_fingerprint_is_64_digits_and_nothing_else() {
    let fingerprint = Fingerprint::of(b"anything");
    let text = fingerprint.to_string();
    let bare = text.replace(':', "");
    assert_eq!((text.len(), bare.len()), (95, 64));
    for good in [&text, &text.to_lowercase(), &bare, &format!("SHA256:{bare}"), &format!(" sha256:{text}\n")] {
        assert_eq!(good.parse(), Ok(fingerprint), "{good}");
    }
    let signed = format!("+1{}", bare.get(2..).unwrap());
    for bad in ["", "sha256:", "é", &bare[1..], &format!("{bare}0"), &format!("{text}:"), &format!(":{text}"), &signed]
    {
        assert_eq!(bad.parse::<Fingerprint>(), Err(NotAFingerprint), "{bad}");
    }
    assert_eq!(Fingerprint::from_bytes(*fingerprint.as_bytes()), fingerprint);
}
