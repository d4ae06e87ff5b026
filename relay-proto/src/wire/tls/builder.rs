//! The TLS configuration of a link that dials, from what operators have: files, names and fingerprints.

use std::{
    fmt, format,
    string::{String, ToString},
    sync::{Arc, OnceLock},
    vec,
    vec::Vec,
};

use rustls::{
    ClientConfig, Error, InconsistentKeys, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName,
        pem::{self, PemObject},
    },
    sign::{CertifiedKey, SingleCertAndKey},
};
use rustls_platform_verifier::Verifier;

use super::{Fingerprint, HTTP, trust::Trust};
use crate::{
    end::{LinkEnd, TlsProblem},
    wire::ClientTls,
};

/// A TLS configuration that trusts what the platform trusts, and speaks HTTP/1.1. The first call reads the platform's
/// certificates, which takes time; later ones share what it made, and with it the sessions that it remembers.
///
/// # Errors
///
/// [`LinkEnd::Tls`] if the platform's trust store cannot be used.
pub fn default_tls_config() -> Result<ClientTls, LinkEnd> {
    static MADE: OnceLock<ClientTls> = OnceLock::new();
    if let Some(config) = MADE.get() {
        return Ok(config.clone());
    }
    let config = ClientTlsBuilder::new()
        .build()
        .map_err(|error| LinkEnd::Tls { problem: TlsProblem::Configuration, detail: error.to_string() })?;
    Ok(MADE.get_or_init(|| config).clone())
}

/// Makes the TLS configuration of links that dial: whom to trust, and what to show.
///
/// As it comes it trusts what the platform trusts, which is what [`default_tls_config`] does, too. Whatever is added, the
/// certificate's validity in time and its name are checked, and that the peer has its key. The name of the host is sent
/// (SNI), TLS is 1.3 or 1.2, and the protocol HTTP/1.1.
///
/// Whom to trust when the certificate is not one of a public authority, the safest first:
///
/// | the operator has …                      | use                                                                 |
/// |-----------------------------------------|---------------------------------------------------------------------|
/// | the certificate of the private authority | [`roots`](Self::roots)                                             |
/// | the certificate of the connector itself | [`roots`](Self::roots), self-signed or not                          |
/// | its fingerprint                         | [`pin`](Self::pin)                                                  |
/// | nothing                                 | [`allow_self_signed`](Self::allow_self_signed): no protection against somebody in between |
///
/// ```
/// # let authority = rcgen::generate_simple_self_signed(["connector.example".into()]).unwrap().cert.pem();
/// use relay_proto::wire::ClientTlsBuilder;
///
/// let tls = ClientTlsBuilder::new().roots(authority).build()?;
/// # Ok::<(), relay_proto::wire::ClientTlsError>(())
/// ```
///
/// Who needs more makes a `rustls::ClientConfig`: [`ClientTls`] is one in an `Arc`, and taken as it is. Its
/// `alpn_protocols` should be empty or `http/1.1` alone; a link refuses anything else.
///
/// Many links can share one configuration, and should: it holds the roots, and remembers sessions of the last 256 hosts.
#[derive(Default)]
pub struct ClientTlsBuilder {
    roots: Vec<Vec<u8>>,
    without_platform: bool,
    client: Option<CertifiedKey>,
    pins: Vec<(String, Fingerprint)>,
    self_signed: Vec<String>,
    /// What went wrong first.
    problem: Option<ClientTlsError>,
}

impl ClientTlsBuilder {
    /// Trusts what the platform trusts, and shows no certificate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts these certificates, too: the contents of a PEM file with any number of them, or one certificate in DER. To
    /// be called any number of times.
    ///
    /// What they have issued is trusted, and they are themselves: so this can be the connector's own certificate, as
    /// `openssl req -x509` makes it, and then nobody else can pass for the connector.
    #[must_use]
    pub fn roots(mut self, contents: impl AsRef<[u8]>) -> Self {
        self.roots.push(contents.as_ref().to_vec());
        self
    }

    /// Does not trust what the platform trusts: only [`roots`](Self::roots) count, and what is named one by one.
    #[must_use]
    pub fn without_platform_roots(mut self) -> Self {
        self.without_platform = true;
        self
    }

    /// Shows this certificate to a connector that asks for one. Both are the contents of PEM files, and can be the same
    /// file: the certificate with its chain, and its private key (PKCS#8, PKCS#1 or SEC1, not encrypted).
    #[must_use]
    pub fn client_certificate(mut self, chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        match read_client(chain.as_ref(), key.as_ref()) {
            Ok(client) => self.client = Some(client),
            Err(error) => self.problem = self.problem.or(Some(error)),
        }
        self
    }

    /// For the host `name`, a DNS name or an IP address as in the URL, accepts the certificate with this fingerprint,
    /// whoever issued it, and *no other*. Several for one name are alternatives, for the day of a renewal.
    #[must_use]
    pub fn pin(mut self, name: impl Into<String>, fingerprint: Fingerprint) -> Self {
        self.pins.push((name.into(), fingerprint));
        self
    }

    /// For the host `name`, a DNS name or an IP address as in the URL, accepts whatever self-signed certificate the peer
    /// shows, if it is for that name and has not expired.
    ///
    /// **Anybody can make one.** Who can get between the two ends can read and change everything, and gets the token. This
    /// is for tests and closed networks; [`pin`](Self::pin) and [`roots`](Self::roots) are as easy, and safe.
    #[must_use]
    pub fn allow_self_signed(mut self, name: impl Into<String>) -> Self {
        self.self_signed.push(name.into());
        self
    }

    /// Makes the configuration. Reads the platform's certificates, which takes time.
    ///
    /// # Errors
    ///
    /// [`ClientTlsError`]: which input cannot be used.
    pub fn build(self) -> Result<ClientTls, ClientTlsError> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        let mut roots = Vec::new();
        for (index, contents) in self.roots.iter().enumerate() {
            roots.extend(read_roots(contents).map_err(|detail| ClientTlsError::Roots { index, detail })?);
        }
        let mut pins = Vec::new();
        for (name, fingerprint) in &self.pins {
            pins.push((server_name(name)?, *fingerprint));
        }
        let self_signed = self.self_signed.iter().map(|name| server_name(name)).collect::<Result<Vec<_>, _>>()?;
        if self.without_platform && roots.is_empty() && pins.is_empty() && self_signed.is_empty() {
            return Err(ClientTlsError::NothingTrusted);
        }
        // The provider is named so that the process needs no default one.
        let provider = Arc::new(ring::default_provider());
        let trust = Trust {
            chains: chains(&roots, self.without_platform, &provider)?,
            exact: roots,
            pins,
            self_signed,
            algorithms: provider.signature_verification_algorithms,
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| ClientTlsError::Platform { detail: error.to_string() })?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(trust));
        let mut config = match self.client {
            Some(client) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(client))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![HTTP.to_vec()];
        Ok(Arc::new(config))
    }
}

impl fmt::Debug for ClientTlsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTlsBuilder")
            .field("roots", &self.roots.len())
            .field("without_platform_roots", &self.without_platform)
            .field("client_certificate", &self.client.is_some())
            .field("pins", &self.pins)
            .field("self_signed", &self.self_signed)
            .finish_non_exhaustive()
    }
}

/// Which input of a [`ClientTlsBuilder`] cannot be used. Never shows a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientTlsError {
    /// [`roots`](ClientTlsBuilder::roots) got something that is no certificate.
    Roots {
        /// The call that got it, from 0.
        index: usize,
        /// What is wrong with it.
        detail: String,
    },
    /// The client certificate or its chain cannot be used.
    ClientCertificate {
        /// What is wrong with it.
        detail: String,
    },
    /// The client certificate's private key cannot be used.
    ClientKey {
        /// What is wrong with it.
        detail: String,
    },
    /// The private key is not that of the client certificate.
    KeyMismatch,
    /// A host to pin a certificate for, or to allow self-signed ones for, is neither a DNS name nor an IP address.
    Name {
        /// It.
        name: String,
    },
    /// The platform's roots are left out, and nothing else is trusted.
    NothingTrusted,
    /// The platform's trust store cannot be used.
    Platform {
        /// What is wrong with it.
        detail: String,
    },
}

impl fmt::Display for ClientTlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Roots { index, detail } => write!(f, "added roots, number {}: {detail}", index.saturating_add(1)),
            Self::ClientCertificate { detail } => write!(f, "the client certificate: {detail}"),
            Self::ClientKey { detail } => write!(f, "the client certificate's private key: {detail}"),
            Self::KeyMismatch => f.write_str("the private key is not that of the client certificate"),
            Self::Name { name } => write!(f, "`{name}` is neither a DNS name nor an IP address"),
            Self::NothingTrusted => {
                f.write_str("no certificate could be trusted: without the platform's roots, others have to be added")
            }
            Self::Platform { detail } => {
                write!(f, "the platform's trusted certificates cannot be used ({detail}): install them, or add roots")
            }
        }
    }
}

impl std::error::Error for ClientTlsError {}

/// The verifier of chains to roots, if there are any.
fn chains(
    roots: &[CertificateDer<'static>],
    without_platform: bool,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ServerCertVerifier>>, ClientTlsError> {
    let failed = |error: &dyn fmt::Display| ClientTlsError::Platform { detail: error.to_string() };
    if !without_platform {
        return Ok(Some(Arc::new(platform(roots, provider.clone()).map_err(|error| failed(&error))?)));
    }
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.clone()).map_err(|error| failed(&error))?;
    }
    if store.is_empty() {
        return Ok(None);
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone()).build();
    verifier.map(|verifier| Some(verifier as Arc<dyn ServerCertVerifier>)).map_err(|error| failed(&error))
}

#[cfg(not(target_os = "android"))]
fn platform(roots: &[CertificateDer<'static>], provider: Arc<CryptoProvider>) -> Result<Verifier, Error> {
    Verifier::new_with_extra_roots(roots.iter().cloned(), provider)
}

#[cfg(target_os = "android")]
fn platform(roots: &[CertificateDer<'static>], provider: Arc<CryptoProvider>) -> Result<Verifier, Error> {
    if roots.is_empty() {
        Verifier::new(provider)
    } else {
        Err(Error::General("Android takes no roots beside its own: leave those out".into()))
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, ClientTlsError> {
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    ServerName::try_from(bare.to_string()).map_err(|_| ClientTlsError::Name { name: name.into() })
}

fn read_roots(contents: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    // DER is a sequence with a length of several bytes, which no text begins with.
    let roots = if matches!(contents, [0x30, length, ..] if *length >= 0x80) {
        vec![CertificateDer::from(contents.to_vec())]
    } else {
        read_certificates(contents)?
    };
    for root in &roots {
        // Finds out whether it is a certificate.
        let added = RootCertStore::empty().add(root.clone());
        added.map_err(|error| format!("there is no usable certificate in it: {error}"))?;
    }
    Ok(roots)
}

fn read_certificates(contents: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = CertificateDer::pem_slice_iter(without_mark(contents))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unreadable("certificate", &error))?;
    if certificates.is_empty() {
        return Err(unreadable("certificate", &pem::Error::NoItemsFound));
    }
    Ok(certificates)
}

fn read_client(chain: &[u8], key: &[u8]) -> Result<CertifiedKey, ClientTlsError> {
    let chain = read_certificates(chain).map_err(|detail| ClientTlsError::ClientCertificate { detail })?;
    let key = PrivateKeyDer::from_pem_slice(without_mark(key)).map_err(|error| ClientTlsError::ClientKey {
        detail: encrypted_key(key).map_or_else(|| unreadable("private key", &error), Into::into),
    })?;
    let key = ring::default_provider().key_provider.load_private_key(key).map_err(|_| ClientTlsError::ClientKey {
        detail: "it is of no kind that can be used (RSA, ECDSA, Ed25519)".into(),
    })?;
    let client = CertifiedKey::new(chain, key);
    match client.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(client),
        Err(Error::InconsistentKeys(_)) => Err(ClientTlsError::KeyMismatch),
        Err(error) => Err(ClientTlsError::ClientCertificate { detail: error.to_string() }),
    }
}

/// What to do, in a sentence, with the contents of a PEM file that are an encrypted private key, in either of the two forms;
/// `None` when they are not.
pub fn encrypted_key(contents: &[u8]) -> Option<&'static str> {
    let is_encrypted = [b" ENCRYPTED PRIVATE KEY-----".as_slice(), b"Proc-Type: 4,ENCRYPTED"]
        .iter()
        .any(|mark| memchr::memmem::find(contents, mark).is_some());
    is_encrypted.then_some(
        "it is encrypted with a passphrase, and only one that is not can be used: decrypt it with `openssl pkey -in KEY.pem \
         -out PLAIN.pem`",
    )
}

/// The contents of a file without the byte order mark that editors on Windows begin it with.
fn without_mark(contents: &[u8]) -> &[u8] {
    contents.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(contents)
}

fn unreadable(what: &str, error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => format!("there is no {what} in it (PEM is expected)"),
        // Others quote what they read.
        _ => "it is damaged, or no PEM".into(),
    }
}
