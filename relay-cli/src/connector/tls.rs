//! A certificate and its key, from two files, and whom clients have to be vouched for by.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use relay_proto::wire::{ServerTls, encrypted_key, rustls};
use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use zeroize::Zeroizing;

/// A configuration for a server with this certificate, which asks clients for one by these authorities, if there are any.
///
/// # Errors
/// Which file is wrong, and how. Never shows the key.
pub(super) fn read(certificate: &Path, key: &Path, clients: &[PathBuf]) -> Result<ServerTls, String> {
    let chain = certificates(certificate)?;
    let key = private_key(key)?;
    // The provider is named so that the process needs no default one.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    for path in clients {
        for root in certificates(path)? {
            let cannot = |error| format!("--tls-client-ca: cannot use `{}`: {error}", path.display());
            roots.add(root).map_err(cannot)?;
        }
    }
    let verifier = match clients {
        [] => WebPkiClientVerifier::no_client_auth(),
        _ => WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
            .build()
            .map_err(|error| format!("--tls-client-ca: {error}"))?,
    };
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_client_cert_verifier(verifier).with_single_cert(chain, key))
        .map_err(|error| format!("--tls-cert and --tls-key cannot be used together: {error}"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The certificates of a file: at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let contents = contents("certificate", path)?;
    let chain = CertificateDer::pem_slice_iter(&contents).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| unreadable("certificate", path, &error))?;
    if chain.is_empty() { Err(unreadable("certificate", path, &pem::Error::NoItemsFound)) } else { Ok(chain) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let contents = contents("private key", path)?;
    PrivateKeyDer::from_pem_slice(&contents).map_err(|error| match encrypted_key(&contents) {
        Some(what_to_do) => format!("cannot read the private key in `{}`: {what_to_do}", path.display()),
        None => unreadable("private key", path, &error),
    })
}

/// A file without the byte order mark that editors on Windows begin it with.
fn contents(what: &str, path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut contents =
        std::fs::read(path).map(Zeroizing::new).map_err(|error| unreadable(what, path, &pem::Error::Io(error)))?;
    if contents.starts_with(b"\xEF\xBB\xBF") {
        contents.drain(..3);
    }
    Ok(contents)
}

fn unreadable(what: &str, path: &Path, error: &pem::Error) -> String {
    let why = match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => format!("there is no {what} in it (PEM is expected)"),
        // Others quote what they read.
        _ => "it is no PEM file".into(),
    };
    format!("cannot read the {what} in `{}`: {why}", path.display())
}
