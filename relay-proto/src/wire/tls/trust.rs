//! Which certificates are trusted: those that a root has issued, and those that were named one by one.

use std::{fmt, sync::Arc, vec::Vec};

use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use webpki::{EndEntityCert, KeyUsage};

use super::Fingerprint;

/// What is trusted, and for which name. The validity in time, the name, and the proof that the peer has the key are
/// checked whoever trusts the certificate.
#[derive(Debug)]
pub(super) struct Trust {
    /// Chains to roots, the platform's or added ones; `None` if there are no roots at all.
    pub(super) chains: Option<Arc<dyn ServerCertVerifier>>,
    /// Certificates that are trusted themselves, also when they could not have issued themselves: webpki alone takes
    /// no certificate of an authority for that of a server, and what `openssl req -x509` makes is one.
    pub(super) exact: Vec<CertificateDer<'static>>,
    /// For these names nothing counts but these.
    pub(super) pins: Vec<(ServerName<'static>, Fingerprint)>,
    /// For these names whatever is self-signed is good.
    pub(super) self_signed: Vec<ServerName<'static>>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

/// Reasons of this verifier's own.
#[derive(Debug)]
pub(super) enum Refusal {
    SelfSigned(Fingerprint),
    NotPinned(Fingerprint),
    Namesake,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SelfSigned(found) => write!(
                f,
                "the certificate is self-signed, and not trusted: if it is the right one, trust that very certificate, or \
                 pin its fingerprint (SHA-256 {found})"
            ),
            Self::NotPinned(found) => write!(
                f,
                "the certificate is not the pinned one: its fingerprint is SHA-256 {found}. Was it renewed, or is this \
                 not the connector?"
            ),
            Self::Namesake => f.write_str(
                "nobody whom this end trusts has issued the certificate: its issuer has the name of a trusted one, and \
                 another key. Was that one made anew?",
            ),
        }
    }
}

impl std::error::Error for Refusal {}

impl Refusal {
    fn error(self) -> Error {
        CertificateError::Other(OtherError(Arc::new(self))).into()
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = EndEntityCert::try_from(end_entity).map_err(error)?;
        let is_self_signed = certificate.issuer() == certificate.subject();
        let mut pins = self.pins.iter().filter(|(of, _)| same(of, name)).map(|(_, pin)| *pin).peekable();
        let named = if pins.peek().is_some() {
            let found = Fingerprint::of(end_entity);
            if !pins.any(|pin| pin == found) {
                return Err(Refusal::NotPinned(found).error());
            }
            true
        } else {
            self.exact.iter().any(|exact| exact == end_entity)
                || is_self_signed && self.self_signed.iter().any(|of| same(of, name))
        };
        if named {
            return self.all_but_the_issuer(&certificate, name, now).map_err(error);
        }
        let judged = match &self.chains {
            Some(chains) => chains.verify_server_cert(end_entity, intermediates, name, ocsp_response, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        match judged {
            // A self-signed certificate is refused in several ways: it could have issued others, or not, or a root has
            // the same name.
            Err(Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature | CertificateError::Other(_),
            )) if is_self_signed => Err(Refusal::SelfSigned(Fingerprint::of(end_entity)).error()),
            Err(Error::InvalidCertificate(CertificateError::BadSignature)) => Err(Refusal::Namesake.error()),
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl Trust {
    /// Judges a certificate that is trusted by itself.
    fn all_but_the_issuer(
        &self,
        certificate: &EndEntityCert<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, webpki::Error> {
        // Without any root it always fails: with the first thing that is wrong, and the issuer comes last. That the
        // certificate is an authority's comes after its validity, and is no reason.
        match certificate.verify_for_usage(self.algorithms.all, &[], &[], now, KeyUsage::server_auth(), None, None) {
            Ok(_) | Err(webpki::Error::UnknownIssuer | webpki::Error::CaUsedAsEndEntity) => {}
            Err(error) => return Err(error),
        }
        certificate.verify_is_valid_for_subject_name(name)?;
        Ok(ServerCertVerified::assertion())
    }
}

/// Whether they are one host: a DNS name with the dot of the root at its end is the same without it.
fn same(one: &ServerName<'_>, other: &ServerName<'_>) -> bool {
    match (one, other) {
        (ServerName::DnsName(one), ServerName::DnsName(other)) => {
            let [one, other] = [one, other].map(|name| name.as_ref().trim_end_matches('.'));
            one.eq_ignore_ascii_case(other)
        }
        _ => one == other,
    }
}

/// As rustls says it.
fn error(error: webpki::Error) -> Error {
    use webpki::Error as Webpki;
    match error {
        Webpki::CertExpired { time, not_after } => CertificateError::ExpiredContext { time, not_after },
        Webpki::CertNotValidYet { time, not_before } => CertificateError::NotValidYetContext { time, not_before },
        Webpki::CertNotValidForName(context) => {
            CertificateError::NotValidForNameContext { expected: context.expected, presented: context.presented }
        }
        Webpki::BadDer | Webpki::BadDerTime | Webpki::TrailingData(_) => CertificateError::BadEncoding,
        other => CertificateError::Other(OtherError(Arc::new(other))),
    }
    .into()
}
