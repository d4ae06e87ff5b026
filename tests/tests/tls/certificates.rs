//! Authorities and certificates, made on the spot.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose, SerialNumber,
};
use relay_proto::wire::ServerTls;
use relay_proto::wire::rustls::crypto::{CryptoProvider, ring};
use relay_proto::wire::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use relay_proto::wire::rustls::server::{ResolvesServerCertUsingSni, WebPkiClientVerifier};
use relay_proto::wire::rustls::sign::CertifiedKey;
use relay_proto::wire::rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};

/// The names under which the tests dial.
pub(crate) const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// The serial number of every certificate that an authority issues.
pub(crate) const SERIAL: u64 = 4711;

pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

/// A certificate with its chain, and its key.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) chain_pem: String,
    pub(crate) key_pem: String,
    key: Vec<u8>,
}

fn params(names: &[&str], subject: &str) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, subject);
    params
}

/// For these names, valid for ever.
pub(crate) fn leaf(names: &[&str]) -> CertificateParams {
    let mut params = params(names, "a connector");
    params.serial_number = Some(SerialNumber::from(SERIAL));
    params
}

/// The same, but not valid any more.
pub(crate) fn expired() -> CertificateParams {
    let mut params = leaf(&NAMES);
    params.not_before = rcgen::date_time_ymd(2001, 1, 1);
    params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    params
}

/// The same, but not valid yet.
pub(crate) fn not_yet_valid() -> CertificateParams {
    let mut params = leaf(&NAMES);
    params.not_before = rcgen::date_time_ymd(2999, 1, 1);
    params.not_after = rcgen::date_time_ymd(3000, 1, 1);
    params
}

/// The same, but an authority's as well: `openssl req -x509` makes such ones.
pub(crate) fn as_openssl_does(mut params: CertificateParams) -> CertificateParams {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

pub(crate) fn authority(name: &str) -> Authority {
    CertifiedIssuer::self_signed(authority_params(name), KeyPair::generate().unwrap()).unwrap()
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = params(&[], name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// An authority that another has issued.
pub(crate) fn intermediate(name: &str, issuer: &Authority) -> Authority {
    CertifiedIssuer::signed_by(authority_params(name), KeyPair::generate().unwrap(), issuer).unwrap()
}

impl Made {
    pub(crate) fn by(issuer: &Authority, params: &CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, issuer).unwrap();
        Self::new(&certificate, &key)
    }

    pub(crate) fn by_itself(params: &CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self::new(&certificate, &key)
    }

    fn new(certificate: &rcgen::Certificate, key: &KeyPair) -> Self {
        Self {
            chain: vec![certificate.der().clone()],
            chain_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            key: key.serialize_der(),
        }
    }

    /// With this certificate behind it.
    pub(crate) fn with(mut self, issuer: &Authority) -> Self {
        self.chain.push(issuer.der().clone());
        self
    }

    /// A connector that shows it.
    pub(crate) fn server(&self) -> ServerTls {
        self.server_with(ring::default_provider(), &[&version::TLS13, &version::TLS12], None)
    }

    /// A connector that shows it to those who ask for this name.
    pub(crate) fn server_for(&self, name: &str) -> ServerTls {
        let provider = ring::default_provider();
        let key = provider.key_provider.load_private_key(self.private_key()).unwrap();
        let mut resolver = ResolvesServerCertUsingSni::new();
        resolver.add(name, CertifiedKey::new(self.chain.clone(), key)).unwrap();
        let builder = ServerConfig::builder_with_provider(Arc::new(provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        Arc::new(builder.with_cert_resolver(Arc::new(resolver)))
    }

    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.clone().into())
    }

    /// A connector with only these versions, and only for clients with a certificate by that authority, if one is named.
    pub(crate) fn server_with(
        &self,
        provider: CryptoProvider,
        versions: &[&'static SupportedProtocolVersion],
        clients: Option<&Authority>,
    ) -> ServerTls {
        let provider = Arc::new(provider);
        let builder = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions).unwrap();
        let builder = match clients {
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.der().clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
            None => builder.with_no_client_auth(),
        };
        Arc::new(builder.with_single_cert(self.chain.clone(), self.private_key()).unwrap())
    }
}
