//! Which platforms gateways front, from their hellos.

use std::collections::BTreeMap;

/// More platforms of all gateways than these are not remembered: then any could be a gateway's.
const MOST: usize = 4096;

/// The platforms that gateways named in their hellos. A platform stays a gateway's when its link ends: the next link's hellos
/// may come before that is told.
#[derive(Default)]
pub(super) struct Fronts {
    /// By gateway, in the order of the hellos.
    of: BTreeMap<String, Vec<String>>,
    count: usize,
}

impl Fronts {
    pub(super) fn add(&mut self, gateway: &str, platform: &str) {
        if self.count >= MOST {
            return;
        }
        let platforms = self.of.entry(gateway.to_owned()).or_default();
        if !platforms.iter().any(|known| known == platform) {
            platforms.push(platform.to_owned());
            self.count += 1;
        }
    }

    /// The platform that a request without one is for (HELLO-1).
    pub(super) fn default_of(&self, gateway: &str) -> Option<&str> {
        self.of.get(gateway)?.first().map(String::as_str)
    }

    /// Whether the gateway named this platform, as far as is known.
    pub(super) fn may_front(&self, gateway: &str, platform: &str) -> bool {
        self.count >= MOST || self.of.get(gateway).is_some_and(|own| own.iter().any(|known| known == platform))
    }

    /// The platforms of a gateway that has named some, unless it could have named others.
    pub(super) fn all_of(&self, gateway: &str) -> Option<&[String]> {
        self.of.get(gateway).map(Vec::as_slice).filter(|_| self.count < MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_named_is_remembered_up_to_a_bound() {
        let mut fronts = Fronts::default();
        assert!(!fronts.may_front("gw", "discord") && fronts.all_of("gw").is_none());
        for platform in ["discord", "slack", "discord"] {
            fronts.add("gw", platform);
        }
        fronts.add("other", "matrix");
        assert_eq!(fronts.all_of("gw").unwrap(), ["discord", "slack"]);
        assert_eq!((fronts.default_of("gw"), fronts.default_of("third")), (Some("discord"), None));
        assert!(fronts.may_front("gw", "slack") && !fronts.may_front("gw", "matrix"));
        for number in 0..2 * MOST {
            fronts.add("gw", &number.to_string());
        }
        assert!(fronts.may_front("gw", "matrix"), "it may be one of those that are not remembered");
        assert!(fronts.all_of("gw").is_none() && fronts.count == MOST);
    }
}
