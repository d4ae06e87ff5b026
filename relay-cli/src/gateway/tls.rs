//! TLS, from the flags.

use std::fs;
use std::path::Path;

use relay_proto::target::Target;
use relay_tokio::{ClientTls, ClientTlsBuilder, ClientTlsError, TlsProblem};

use crate::args::TlsArgs;
use crate::output;

/// The configuration that the flags ask for; `None` if they ask for nothing special.
///
/// # Errors
/// Which flag or file is wrong, and how. Never shows a key.
pub(crate) fn read(args: &TlsArgs, target: &Target) -> Result<Option<ClientTls>, String> {
    let asks =
        args.tls_cert.is_some() || args.tls_allow_self_signed || !args.tls_ca.is_empty() || !args.tls_pin.is_empty();
    if !asks {
        return Ok(None);
    }
    if !target.is_tls() {
        return Err("the flags about TLS are for an https or wss address, and this one is neither".into());
    }
    let mut builder = ClientTlsBuilder::new();
    for file in &args.tls_ca {
        builder = builder.roots(contents("--tls-ca", file)?);
    }
    if args.tls_only_ca {
        builder = builder.without_platform_roots();
    }
    for pin in &args.tls_pin {
        builder = builder.pin(target.host(), pin.parse().map_err(|error| format!("--tls-pin `{pin}`: {error}"))?);
    }
    if args.tls_allow_self_signed {
        output::note(
            "warning: --tls-allow-self-signed lets whoever gets in between pass for the connector: prefer --tls-pin",
        );
        builder = builder.allow_self_signed(target.host());
    }
    if let (Some(certificate), Some(key)) = (&args.tls_cert, &args.tls_key) {
        builder = builder.client_certificate(contents("--tls-cert", certificate)?, contents("--tls-key", key)?);
    }
    builder.build().map(Some).map_err(|error| named(args, &error))
}

fn contents(flag: &str, file: &Path) -> Result<Vec<u8>, String> {
    fs::read(file).map_err(|error| format!("{flag}: cannot read `{}`: {error}", file.display()))
}

/// What the builder says of its inputs, said of the files that they come from.
fn named(args: &TlsArgs, error: &ClientTlsError) -> String {
    let of = |flag: &str, file: Option<&Path>, detail: &str| match file {
        Some(file) => format!("{flag}: cannot use `{}`: {detail}", file.display()),
        None => error.to_string(),
    };
    match error {
        ClientTlsError::Roots { index, detail } => of("--tls-ca", args.tls_ca.get(*index).map(AsRef::as_ref), detail),
        ClientTlsError::ClientCertificate { detail } => of("--tls-cert", args.tls_cert.as_deref(), detail),
        ClientTlsError::ClientKey { detail } => of("--tls-key", args.tls_key.as_deref(), detail),
        ClientTlsError::KeyMismatch => "--tls-key: the private key is not that of the certificate in --tls-cert".into(),
        error => error.to_string(),
    }
}

/// The reason of an end, and the flags that could help.
pub(crate) fn advised(problem: TlsProblem, reason: &str) -> String {
    match problem {
        TlsProblem::UnknownIssuer => format!("{reason} (here: --tls-ca, or --tls-pin)"),
        TlsProblem::ClientCertificate => format!("{reason} (here: --tls-cert and --tls-key)"),
        _ => reason.into(),
    }
}
