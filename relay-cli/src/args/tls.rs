//! The flags about TLS that all that dials has.

use std::path::PathBuf;

use clap::Args;

/// What a gateway makes of TLS, for https and wss.
#[derive(Args, Debug)]
#[command(next_help_heading = "TLS (for https)")]
pub(crate) struct TlsArgs {
    /// A file with certificates to trust beside those that this machine trusts, in PEM or DER: of a private authority, or
    /// the connector's own. Repeat it for more
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_ca: Vec<PathBuf>,
    /// Trust only what --tls-ca names, not what this machine trusts
    #[arg(long, requires = "tls_ca")]
    pub(crate) tls_only_ca: bool,
    /// Accept the certificate with this fingerprint, whoever issued it, and no other; `openssl x509 -noout -fingerprint
    /// -sha256` shows it. Repeat it for alternatives
    #[arg(long, value_name = "SHA256")]
    pub(crate) tls_pin: Vec<String>,
    /// Accept any self-signed certificate for the host of the URL. Anybody can make one: whoever gets in between can read
    /// everything, and take the credentials. Prefer --tls-ca or --tls-pin
    #[arg(long, conflicts_with_all = ["tls_pin", "tls_only_ca"])]
    pub(crate) tls_allow_self_signed: bool,
    /// A PEM file with a certificate, and its chain, to show to a connector that asks for one
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// A PEM file with that certificate's private key
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
}
