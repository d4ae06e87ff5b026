//! What went wrong, in a word and in a sentence that helps.

use std::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use rustls::{
    AlertDescription as Alert, CertificateError as Certificate, Error, OtherError,
    pki_types::{ServerName, UnixTime},
};

use super::trust::Refusal;
use crate::end::{LinkEnd, TlsProblem};

/// How many names of a wrong certificate are told.
const NAMES: usize = 8;

/// How far a connection had come when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// There is no version and no cipher yet, and nobody has shown a certificate.
    Greeting,
    /// Version and cipher are agreed on.
    Agreed,
    /// The handshake was through, as far as this end could see.
    Established,
}

/// The end of a link that could not be begun.
pub(super) fn failed(error: &Error) -> LinkEnd {
    failed_at(Stage::Greeting, error)
}

/// The end of a link that failed like this.
pub(super) fn failed_at(stage: Stage, error: &Error) -> LinkEnd {
    let (problem, detail) = match (stage, error) {
        // Some peers do not say it better if they miss a certificate. What else it can mean had been agreed on.
        (Stage::Agreed, Error::AlertReceived(alert @ Alert::HandshakeFailure)) => {
            (TlsProblem::ClientCertificate, certificate_is_refused(*alert))
        }
        (Stage::Greeting, Error::AlertReceived(alert)) if is_about_our_certificate(*alert) => {
            (TlsProblem::Handshake, ended_by(*alert))
        }
        (Stage::Agreed | Stage::Established, Error::InvalidMessage(_)) => (TlsProblem::Handshake, error.to_string()),
        _ => (problem(error), explain(error)),
    };
    LinkEnd::Tls { problem, detail }
}

/// The end of a link whose configuration is of no use.
pub(super) fn unusable(detail: String) -> LinkEnd {
    LinkEnd::Tls { problem: TlsProblem::Configuration, detail }
}

fn problem(error: &Error) -> TlsProblem {
    match error {
        Error::InvalidCertificate(error) => match error {
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => TlsProblem::WrongName,
            Certificate::Expired | Certificate::ExpiredContext { .. } => TlsProblem::Expired,
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => TlsProblem::NotYetValid,
            Certificate::UnknownIssuer => TlsProblem::UnknownIssuer,
            Certificate::Other(other) if matches!(refusal(other), Some(Refusal::SelfSigned(_) | Refusal::Namesake)) => {
                TlsProblem::UnknownIssuer
            }
            Certificate::Revoked => TlsProblem::Revoked,
            _ => TlsProblem::BadCertificate,
        },
        Error::InvalidCertRevocationList(_) | Error::NoCertificatesPresented => TlsProblem::BadCertificate,
        Error::AlertReceived(alert) if is_about_our_certificate(*alert) => TlsProblem::ClientCertificate,
        Error::General(_) | Error::FailedToGetCurrentTime | Error::FailedToGetRandomBytes => TlsProblem::Configuration,
        _ => TlsProblem::Handshake,
    }
}

/// Whether the peer does not like what this end showed. With TLS 1.3 a client learns it after its handshake.
fn is_about_our_certificate(alert: Alert) -> bool {
    matches!(
        alert,
        Alert::CertificateRequired
            | Alert::NoCertificate
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
    )
}

fn explain(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => certificate(error),
        Error::AlertReceived(alert) => self::alert(*alert),
        Error::InvalidMessage(_) => format!(
            "the peer does not speak TLS, or not here: is this the right port, and should the address begin with http:// or \
             ws://? ({error})"
        ),
        Error::PeerIncompatible(_) => format!("the two ends have no TLS version or cipher in common: {error}"),
        other => other.to_string(),
    }
}

fn certificate(error: &Certificate) -> String {
    match error {
        Certificate::NotValidForNameContext { expected, presented } => wrong_name(expected, presented),
        Certificate::ExpiredContext { time, not_after } => format!(
            "the certificate expired {} ago: it has to be renewed, unless this machine's clock is wrong",
            between(*not_after, *time)
        ),
        Certificate::NotValidYetContext { time, not_before } => {
            format!("the certificate is valid only in {}: is this machine's clock right?", between(*time, *not_before))
        }
        Certificate::UnknownIssuer => {
            "nobody whom this end trusts has issued the certificate: trust its issuer if it is a \
                                       private one, or have the peer send its whole chain"
                .into()
        }
        Certificate::Other(other) => match refusal(other) {
            Some(refusal) => refusal.to_string(),
            None => format!("the certificate cannot be used: {other}"),
        },
        // What the platform finds out has no details.
        Certificate::NotValidForName => "the certificate is for another name".into(),
        Certificate::Expired => {
            "the certificate expired: it has to be renewed, unless this machine's clock is wrong".into()
        }
        Certificate::NotValidYet => "the certificate is not valid yet: is this machine's clock right?".into(),
        Certificate::Revoked => "the certificate was revoked by its issuer".into(),
        other => format!("the certificate cannot be used: {other}"),
    }
}

fn refusal(error: &OtherError) -> Option<&Refusal> {
    error.0.downcast_ref()
}

fn wrong_name(expected: &ServerName<'_>, presented: &[String]) -> String {
    let is_address = matches!(expected, ServerName::IpAddress(_));
    let expected = expected.to_str();
    // An address that is written as the name of a host is no use to anybody who dials the address.
    let as_name = presented.iter().filter_map(|name| name.strip_prefix("DnsName(\"")?.strip_suffix("\")"));
    if is_address && as_name.into_iter().any(|name| name == expected) {
        return format!(
            "the certificate has {expected} in its subjectAltName as the name of a host (DNS:{expected}), and it has to be \
             there as an address (IP:{expected}): make it anew like that, or dial a name that it has"
        );
    }
    // They come as `DnsName("a.example")` and `IpAddress(127.0.0.1)`, and hold what the peer put there.
    let mut names: Vec<String> = presented
        .iter()
        .take(NAMES)
        .map(|name| match name.split_once('(').and_then(|(_, name)| name.strip_suffix(')')) {
            Some(name) => name.trim_matches('"').escape_debug().to_string(),
            None => name.escape_debug().to_string(),
        })
        .collect();
    if presented.len() > NAMES {
        names.push(format!("{} more", presented.len() - NAMES));
    }
    if names.is_empty() {
        format!("the certificate names nobody, so not {expected} either: its subjectAltName counts, not its subject")
    } else {
        format!("the certificate is for {}, not for {expected}", names.join(", "))
    }
}

/// A time span for people.
fn between(from: UnixTime, to: UnixTime) -> String {
    match to.as_secs().saturating_sub(from.as_secs()) {
        seconds @ 172_800.. => format!("{} days", seconds / 86_400),
        seconds @ 7200.. => format!("{} hours", seconds / 3600),
        seconds @ 120.. => format!("{} minutes", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

fn alert(alert: Alert) -> String {
    match alert {
        Alert::CertificateRequired | Alert::NoCertificate => {
            format!("the peer wants a certificate of this end, and got none (alert {alert:?})")
        }
        alert if is_about_our_certificate(alert) => certificate_is_refused(alert),
        Alert::ProtocolVersion => format!("the two ends have no TLS version in common (alert {alert:?})"),
        Alert::HandshakeFailure | Alert::InsufficientSecurity => format!(
            "the two ends have no TLS version or cipher in common, or the peer wants a certificate of this end and got none \
             (alert {alert:?})"
        ),
        Alert::UnrecognisedName => format!("the peer serves nothing under this name (alert {alert:?})"),
        alert => ended_by(alert),
    }
}

fn certificate_is_refused(alert: Alert) -> String {
    format!("the peer does not accept the certificate of this end, or wants one and got none (alert {alert:?})")
}

fn ended_by(alert: Alert) -> String {
    format!("the peer ended TLS (alert {alert:?})")
}

#[cfg(test)]
mod tests {
    use super::*;

    // proves: DIAL-7
    #[test]
    fn an_address_that_is_written_as_a_name_is_told_from_another_name() {
        let told = |expected: &'static str, presented: &[&str]| {
            let presented: Vec<String> = presented.iter().map(|name| (*name).into()).collect();
            wrong_name(&ServerName::try_from(expected).unwrap(), &presented)
        };
        let text = told("127.0.0.1", &["DnsName(\"a.example\")", "DnsName(\"127.0.0.1\")"]);
        assert!(text.contains("DNS:127.0.0.1") && text.contains("IP:127.0.0.1"), "{text}");
        for (expected, presented) in [("127.0.0.1", "DnsName(\"localhost\")"), ("localhost", "IpAddress(127.0.0.1)")] {
            let text = told(expected, &[presented]);
            assert!(
                text.starts_with("the certificate is for ") && text.ends_with(&format!("not for {expected}")),
                "{text}"
            );
        }
    }
}
