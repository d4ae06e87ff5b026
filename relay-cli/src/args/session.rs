//! The flags about sessions.

use clap::Args;
use relay_proto::chat::SessionKeys;

use crate::environment;

/// The variable that says the same as `--profiles`, as the reference gateway reads it.
const PROFILES: &str = "GATEWAY_MULTIPLEX_PROFILES";

/// How messages are cut into sessions. A connector names a session by its key when a user stops it, so both ends have to cut
/// alike (STOP-1).
#[derive(Args, Debug)]
#[command(next_help_heading = "Session keys, which the connector has to make alike")]
pub(crate) struct SessionArgs {
    /// The people of a group share one session, instead of having one each: group_sessions_per_user is false there
    #[arg(long, conflicts_with = "per_user_threads")]
    pub(crate) shared_groups: bool,
    /// Each person has a session in threads, too, instead of sharing one: thread_sessions_per_user is true there
    #[arg(long)]
    pub(crate) per_user_threads: bool,
    /// The sessions of an agent's profile have keys of their own, agent:PROFILE instead of agent:main: multiplex_profiles is
    /// true there. Default: what GATEWAY_MULTIPLEX_PROFILES says, true or false; without it false
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) profiles: Option<bool>,
}

impl SessionArgs {
    /// The session keys. `lookup`: where the variable is found, if no flag says it.
    ///
    /// # Errors
    /// The variable says neither yes nor no.
    pub(crate) fn keys(
        &self,
        lookup: impl Fn(&'static str) -> Result<Option<String>, String>,
    ) -> Result<SessionKeys, String> {
        let profiles = match self.profiles {
            Some(profiles) => profiles,
            None => {
                let value = lookup(PROFILES).map_err(|problem| format!("{PROFILES}: {problem}"))?;
                value.as_deref().map_or(Ok(false), switch)?
            }
        };
        Ok(SessionKeys { per_user_groups: !self.shared_groups, per_user_threads: self.per_user_threads, profiles })
    }

    /// The session keys, with the environment alone.
    ///
    /// # Errors
    /// As [`keys`](Self::keys).
    pub(crate) fn keys_from_env(&self) -> Result<SessionKeys, String> {
        self.keys(environment::variable)
    }
}

/// A switch as the reference gateway reads it. Blank is off.
fn switch(value: &str) -> Result<bool, String> {
    match value.trim().to_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "" | "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(format!("{PROFILES} is neither true nor false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // proves: CHAT-5
    #[test]
    fn the_flag_goes_before_the_variable() {
        let profiles = |flag, variable: Option<&str>| {
            let args = SessionArgs { shared_groups: false, per_user_threads: false, profiles: flag };
            args.keys(|name| Ok(variable.filter(|_| name == PROFILES).map(Into::into))).map(|keys| keys.profiles)
        };
        for on in ["1", "true", " YES ", "on"] {
            assert_eq!(profiles(None, Some(on)), Ok(true), "{on}");
            assert_eq!(profiles(Some(false), Some(on)), Ok(false), "{on}");
        }
        for off in ["0", "False", "no", "off", "", " "] {
            assert_eq!(profiles(None, Some(off)), Ok(false), "{off:?}");
            assert_eq!(profiles(Some(true), Some(off)), Ok(true), "{off:?}");
        }
        assert_eq!(profiles(None, None), Ok(false));
        let unclear = profiles(None, Some("maybe")).unwrap_err();
        assert!(unclear.contains(PROFILES), "{unclear}");
        assert_eq!(profiles(Some(true), Some("maybe")), Ok(true));
    }
}
