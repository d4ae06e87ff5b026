//! The connector's configuration, from the flags.

use std::net::SocketAddr;
use std::time::Duration;

use relay_connector::Config;
use relay_proto::connector::{AckPolicy, Limits, Settings, Timing};
use relay_proto::token::Secret;
use relay_tokio::Descriptor;

use super::{descriptors, enrolment, tls};
use crate::args::ConnectorArgs;
use crate::{environment, gateway_id, output};

/// What a connector starts with.
pub(super) struct Setup {
    pub(super) config: Config,
    pub(super) gateways: Gateways,
    /// What gateways are told of platforms; the last of two counts.
    pub(super) descriptors: Vec<Descriptor>,
}

/// The gateways that are let in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Gateways {
    /// Nobody authenticates, and all links are of one gateway.
    Anyone,
    /// Those with these ids, sorted. There may be none yet, if they can enrol.
    Registered(Vec<String>),
}

/// Reads the flags, and the files and variables that they name.
///
/// # Errors
/// What is wrong and what to do. Never shows a secret.
pub(super) fn read(args: &ConnectorArgs) -> Result<Setup, String> {
    check_address(&args.listen)?;
    let window = usize::try_from(args.window).map_err(|error| format!("--window: {error}"))?;
    let mut limits = Limits::default();
    (limits.window, limits.line, limits.frame) = (window, args.sizes.max_line, args.sizes.max_frame);
    limits.message = args.sizes.message(limits.message);
    let settings = Settings::new(Timing::default(), limits).map_err(|error| error.to_string())?;
    let presumes_all = args.presume_acks.iter().any(String::is_empty);
    let acks = if presumes_all { AckPolicy::Assumed } else { AckPolicy::Required };
    let mut config = Config::new().settings(settings.with_acks(acks));
    config = config.write_timeout(Duration::from_secs(args.write_timeout));
    let mut descriptors = descriptors::built_in().to_vec();
    for file in &args.descriptor {
        descriptors.extend(descriptors::read(file)?);
    }
    config = descriptors.iter().cloned().fold(config, Config::descriptor);
    if let (Some(certificate), Some(key)) = (&args.tls_cert, &args.tls_key) {
        config = config.tls(tls::read(certificate, key, &args.tls_client_ca)?);
    }
    let mut ids = Vec::new();
    for (id, secret) in registered(args)? {
        config = config.gateway(&id, secret);
        ids.push(id);
    }
    ids.sort();
    ids.dedup();
    let enrolment = enrolment::read(&args.enrolment)?;
    for id in args.presume_acks.iter().filter(|id| !id.is_empty()) {
        // A gateway that enrols is not known yet.
        if !ids.contains(id) && enrolment.is_none() {
            return Err(format!("--presume-acks={id}: no --gateway or --gateway-env names that gateway"));
        }
        config = config.presume_acks(id);
    }
    let gateways = if ids.is_empty() && enrolment.is_none() { Gateways::Anyone } else { Gateways::Registered(ids) };
    if let Some(enrolment) = enrolment {
        config = config.enrolment(enrolment);
    }
    Ok(Setup { config, gateways, descriptors })
}

/// What can be told without asking the system.
fn check_address(address: &str) -> Result<(), String> {
    let problem = match address.rsplit_once(':') {
        _ if address.contains("://") => "that is a URL",
        None => "that names no port",
        Some(("", _)) => {
            "that names no host: 127.0.0.1 is for programs on this machine alone, 0.0.0.0 for whoever reaches it"
        }
        Some((_, port)) if port.parse::<u16>().is_err() => "the port is a number from 0 to 65535",
        Some(_) => return Ok(()),
    };
    Err(format!("--listen takes HOST:PORT, as in 127.0.0.1:8765, and not `{address}`: {problem}"))
}

/// The gateways with their secrets.
fn registered(args: &ConnectorArgs) -> Result<Vec<(String, Secret)>, String> {
    let mut registered = Vec::new();
    for pair in &args.gateway_env {
        // The name of a variable holds no `=`, an id may.
        let (id, name) = pair.rsplit_once('=').ok_or("--gateway-env takes ID=NAME, and there is one without a `=`")?;
        gateway_id::check(id).map_err(|problem| format!("--gateway-env: {problem}"))?;
        let secret = environment::secret(name)?;
        if secret.is_blank() {
            return Err(environment::blank(name));
        }
        registered.push((id.to_owned(), secret));
    }
    for pair in &args.gateway {
        let id = pair.id.as_ref().ok_or("--gateway takes ID=SECRET, and there is one without a `=`")?;
        gateway_id::check(id).map_err(|problem| format!("--gateway: {problem}"))?;
        if pair.secret.is_blank() {
            return Err(format!("--gateway: the secret of `{id}` is blank"));
        }
        registered.push((id.clone(), pair.secret.clone()));
    }
    if !args.gateway.is_empty() {
        output::note("warning: --gateway shows the secret to whoever can list processes: prefer --gateway-env");
    }
    Ok(registered)
}

/// Says what is unsafe about listening there.
pub(super) fn warn_about(address: SocketAddr, tls: bool, gateways: &Gateways) {
    if address.ip().is_loopback() {
        return;
    }
    if *gateways == Gateways::Anyone {
        output::note("warning: without --gateway-env whoever reaches this address is let in, and gets the messages");
    }
    if !tls {
        output::note("warning: without --tls-cert the network between here and the gateways can read everything");
    }
}

impl Gateways {
    /// The name of the one gateway of a connector that authenticates nobody.
    pub(super) const ANYONE: &str = "default";

    /// Their names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let (anyone, registered) = match self {
            Self::Anyone => (Some(Self::ANYONE), [].as_slice()),
            Self::Registered(ids) => (None, ids.as_slice()),
        };
        anyone.into_iter().chain(registered.iter().map(String::as_str))
    }

    /// One that enrolled. Once a gateway did, all have to authenticate.
    pub(super) fn add(&mut self, id: &str) {
        self.close();
        if let Self::Registered(ids) = self
            && let Err(at) = ids.binary_search_by(|known| known.as_str().cmp(id))
        {
            ids.insert(at, id.to_owned());
        }
    }

    /// All have to authenticate.
    pub(super) fn close(&mut self) {
        if *self == Self::Anyone {
            *self = Self::Registered(Vec::new());
        }
    }

    /// The gateway of this name, or the one that there is.
    ///
    /// # Errors
    /// There is none of this name, or more than one and no name.
    pub(super) fn find(&self, name: Option<&str>) -> Result<String, String> {
        match (self, name) {
            (Self::Anyone, None | Some(Self::ANYONE)) => Ok(Self::ANYONE.to_owned()),
            (Self::Anyone, Some(_)) => {
                Err("without authentication there are no gateways by name: leave it out, or start with --gateway-env"
                    .into())
            }
            (Self::Registered(ids), Some(name)) => match ids.binary_search_by(|id| id.as_str().cmp(name)) {
                Ok(_) => Ok(name.to_owned()),
                Err(_) => Err(format!("there is no gateway {}", crate::members::excerpt(name))),
            },
            (Self::Registered(ids), None) => match ids.as_slice() {
                [id] => Ok(id.clone()),
                [] => Err("no gateway has enrolled yet".into()),
                _ => Err("which gateway? There are several: name one".into()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_enrolls_can_be_named() {
        let mut gateways = Gateways::Anyone;
        gateways.close();
        assert!(gateways.find(None).is_err());
        for id in ["b", "a", "b"] {
            gateways.add(id);
        }
        assert_eq!(gateways, Gateways::Registered(vec!["a".into(), "b".into()]));
    }

    #[test]
    fn a_name_may_be_left_out_when_there_is_one_gateway() {
        assert_eq!(Gateways::Anyone.find(None).as_deref(), Ok("default"));
        assert_eq!(Gateways::Anyone.find(Some("default")).as_deref(), Ok("default"));
        assert!(Gateways::Anyone.find(Some("gw")).is_err());
        let one = Gateways::Registered(vec!["gw".into()]);
        assert_eq!(one.find(None).as_deref(), Ok("gw"));
        assert!(one.find(Some("other")).is_err() && one.find(Some("default")).is_err());
        let two = Gateways::Registered(vec!["a".into(), "b".into()]);
        assert_eq!(two.find(Some("b")).as_deref(), Ok("b"));
        assert!(two.find(None).is_err());
    }
}
