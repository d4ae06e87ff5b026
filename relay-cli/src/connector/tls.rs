//! A certificate and its key, from two files.

use std::path::Path;
use std::sync::Arc;

use relay_proto::wire::{ServerTls, rustls};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A configuration for a server with this certificate.
///
/// # Errors
/// Which file is wrong, and how. Never shows the key.
pub(super) fn read(certificate: &Path, key: &Path) -> Result<ServerTls, String> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable("certificate", certificate, &error))?;
    if chain.is_empty() {
        return Err(unreadable("certificate", certificate, &pem::Error::NoItemsFound));
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable("private key", key, &error))?;
    // The provider is named so that the process needs no default one.
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| format!("--tls-cert and --tls-key cannot be used together: {error}"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
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
