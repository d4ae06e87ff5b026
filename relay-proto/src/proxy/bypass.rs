//! The hosts that `NO_PROXY` names.

use core::net::IpAddr;

use super::address;
use crate::target;

/// Whether a host is reached without a proxy. The list holds, separated by commas or spaces: `*` for everything; a domain,
/// which stands for itself and all below it, with or without a leading `.` or `*.`; an address; or a network as in `10.0.0.0/8`.
/// Domains and addresses may have a port.
///
/// Loopback never goes through a proxy from the environment: the proxy's own loopback is never meant.
pub(super) fn bypasses(list: &str, host: &str, port: u16) -> bool {
    target::is_loopback(host) || list.split([',', ' ']).map(str::trim).any(|entry| matches(entry, host, port))
}

fn matches(entry: &str, host: &str, port: u16) -> bool {
    if entry.is_empty() {
        return false;
    }
    if entry == "*" {
        return true;
    }
    if let (Some((network, bits)), Some(ip)) = (entry.split_once('/'), address(host)) {
        return address(network).zip(bits.parse().ok()).is_some_and(|(network, bits)| in_network(ip, network, bits));
    }
    // An IPv6 address without brackets is an address and not a name with a port.
    let plain = entry.strip_prefix("*.").or(entry.strip_prefix('.')).unwrap_or(entry);
    let (name, entry_port) = match target::split_port(plain) {
        Ok((name, port)) => (name, port),
        Err(_) => (entry, None),
    };
    if entry_port.is_some_and(|entry_port| entry_port.parse() != Ok(port)) {
        return false;
    }
    match (address(name), address(host)) {
        (Some(entry), Some(ip)) => entry == ip,
        (None, None) => is_below(host.strip_suffix('.').unwrap_or(host), name.strip_suffix('.').unwrap_or(name)),
        _ => false,
    }
}

/// Whether a name is this domain or below it.
fn is_below(host: &str, domain: &str) -> bool {
    host.len()
        .checked_sub(domain.len())
        .and_then(|at| host.split_at_checked(at))
        .is_some_and(|(above, end)| end.eq_ignore_ascii_case(domain) && (above.is_empty() || above.ends_with('.')))
}

fn in_network(ip: IpAddr, network: IpAddr, bits: u32) -> bool {
    let (ip, network, width) = match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => (ip.to_bits().into(), network.to_bits().into(), 32_u32),
        (IpAddr::V6(ip), IpAddr::V6(network)) => (ip.to_bits(), network.to_bits(), 128),
        _ => return false,
    };
    let differing: u128 = ip ^ network;
    width.checked_sub(bits).is_some_and(|rest| differing.checked_shr(rest).unwrap_or(0) == 0)
}

#[cfg(test)]
mod tests {
    use super::bypasses;

    #[test]
    fn names_networks_and_ports() {
        for (list, host, port, bypassed) in [
            ("", "c.example", 443, false),
            ("*", "c.example", 443, true),
            ("example", "c.example", 443, true),
            (".example", "c.example", 443, true),
            ("*.example", "c.example", 443, true),
            ("*.example", "a.c.example", 443, true),
            ("*.c.example:443", "c.example", 443, true),
            ("*.c.example:80", "c.example", 443, false),
            ("*.example", "xexample", 443, false),
            ("*example", "c.example", 443, false),
            ("*.10.1.2.3", "11.1.2.3", 443, false),
            ("C.Example.", "c.example", 443, true),
            ("c.example", "xc.example", 443, false),
            ("a, c.example", "c.example", 443, true),
            ("a c.example", "b.c.example.", 443, true),
            ("c.example:443", "c.example", 443, true),
            ("c.example:80", "c.example", 443, false),
            ("c.example", "example", 443, false),
            ("10.0.0.0/8", "10.1.2.3", 443, true),
            ("10.0.0.0/8", "11.1.2.3", 443, false),
            ("10.0.0.0/33", "10.0.0.0", 443, false),
            ("0.0.0.0/0", "11.1.2.3", 443, true),
            ("0.0.0.0/0", "fd12::1", 443, false),
            ("::/0", "fd12::1", 443, true),
            ("::/0", "2001:db8::1", 443, true),
            ("::/0", "10.1.2.3", 443, false),
            ("::/1", "8000::1", 443, false),
            ("::/129", "::2", 443, false),
            ("fd12::1/128", "fd12::1", 443, true),
            ("fd12::1/128", "fd12::2", 443, false),
            ("fd00::/8", "fd12::1", 443, true),
            ("fd00::/8", "10.0.0.1", 443, false),
            ("fd12::1", "fd12::1", 443, true),
            ("[fd12::1]:443", "fd12::1", 443, true),
            ("10.1.2.3", "10.1.2.3", 443, true),
            ("1.2.3", "0.1.2.3", 443, false),
            ("/,://,:,[", "c.example", 443, false),
        ] {
            assert_eq!(bypasses(list, host, port), bypassed, "{list:?} {host}:{port}");
        }
    }

    #[test]
    fn loopback_is_never_proxied() {
        for host in ["localhost", "127.0.0.1", "::1", "a.localhost"] {
            assert!(bypasses("", host, 1), "{host}");
        }
    }
}
