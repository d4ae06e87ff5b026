//! The flags about enrolment, of both ends.

use std::path::PathBuf;

use clap::Args;
use relay_proto::enroll::Credential;

use super::TlsArgs;

const ENROLL_HELP: &str = r#"The one line on standard output:
  {"event":"enrolled","gateway":…,"tenant":…,"env_file":…,"variables":[…]}
        The gateway has its credentials, in that file and nowhere else. Exit
        code 0.
  {"event":"failed","cause":…,"error":…,"token_used":"no"|"perhaps"|"yes"}
        It has not; there may be an `env_file`, and `retry_in_ms` if the
        connector says when to try again. Exit code 1. Unless
        `token_used` is no, get a new enrolment token before you try again. The
        cause is unauthorized (401), forbidden (403: the token may be wrong,
        expired or used, so `token_used` is perhaps), bad_request (400),
        refused (any other status), redirected_away, too_many_redirects,
        unreachable, proxy, tls, timed_out, lost, not_http, too_long, not_json,
        no_secret, unusable_secret, other_gateway, interrupted (a signal came
        before the answer), or not_written: then `error` says where the
        credentials are.
  With exit code 2 there is no line, and nothing was sent: a flag, a variable
  or a file is missing or wrong, or --env-file is there already (see --force)
  or cannot be made.

No token is ever shown. One that comes from standard input ends with the input.

Examples:
  $ export GATEWAY_RELAY_ENROLL_TOKEN=… GATEWAY_RELAY_IDENTITY_TOKEN=…
  $ relay enroll --url https://connector.example --id my-gateway \
      --env-file gateway.env --platform discord --bot-id 1234
  $ relay gateway --env-file gateway.env

  $ pass connector/enrolment | relay enroll --url https://connector.example \
      --id my-gateway --token-file - --identity-file identity.txt \
      --env-file gateway.env"#;

/// Get a gateway its credentials: redeem an enrolment token at a connector, and keep what it grants in a file
///
/// The file is what `relay gateway --env-file` reads, and shells and service managers can, too. It appears complete or not
/// at all, with mode 0600, and its place is checked before the token is redeemed, since that works only once.
#[derive(Args, Debug)]
#[command(after_help = ENROLL_HELP)]
pub(crate) struct EnrollArgs {
    /// The connector's base URL, or its dial URL. Default: GATEWAY_RELAY_URL
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// The id that the gateway is to have. Default: GATEWAY_RELAY_ID
    #[arg(long)]
    pub(crate) id: Option<String>,
    /// The file to write: GATEWAY_RELAY_URL, _ID, _SECRET, and _DELIVERY_KEY if there is one
    #[arg(long, value_name = "PATH")]
    pub(crate) env_file: PathBuf,
    /// Replace the file if there is one
    #[arg(long)]
    pub(crate) force: bool,
    /// A platform that the gateway will front, for the file: GATEWAY_RELAY_PLATFORMS. Repeat it for more
    #[arg(long)]
    pub(crate) platform: Vec<String>,
    /// The bot's id there, for the file: GATEWAY_RELAY_BOT_IDS. One for each --platform, in the same order, or none at all
    #[arg(long, requires = "platform")]
    pub(crate) bot_id: Vec<String>,
    /// The environment variable that holds the enrolment token
    #[arg(long, value_name = "NAME", default_value = "GATEWAY_RELAY_ENROLL_TOKEN")]
    pub(crate) token_env: String,
    /// A file that holds the enrolment token; - is standard input
    #[arg(long, value_name = "PATH", conflicts_with = "token_env")]
    pub(crate) token_file: Option<PathBuf>,
    /// The enrolment token itself. Whoever can list processes can read it: prefer the other two
    #[arg(long, conflicts_with_all = ["token_env", "token_file"])]
    pub(crate) token: Option<Hidden>,
    /// The environment variable that holds the identity token, which says whose gateway this is
    #[arg(long, value_name = "NAME", default_value = "GATEWAY_RELAY_IDENTITY_TOKEN")]
    pub(crate) identity_env: String,
    /// A file that holds the identity token; - is standard input
    #[arg(long, value_name = "PATH", conflicts_with = "identity_env")]
    pub(crate) identity_file: Option<PathBuf>,
    /// How long all of it may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = super::SECONDS_OF_HOUR)]
    pub(crate) timeout: u64,
    /// Send the tokens also over plain http to a host that is not this one: whoever sees the connection can take them
    #[arg(long)]
    pub(crate) allow_plaintext_credentials: bool,
    /// Reach the connector through this HTTP proxy: http://USER:PASSWORD@HOST:PORT. Default: HTTPS_PROXY, HTTP_PROXY or
    /// ALL_PROXY
    #[arg(long, value_name = "URL", conflicts_with = "no_proxy")]
    pub(crate) proxy: Option<String>,
    /// Reach the connector directly, whatever HTTPS_PROXY, HTTP_PROXY and ALL_PROXY say
    #[arg(long)]
    pub(crate) no_proxy: bool,
    // The last, because its heading is for all that follow.
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
}

/// Whom a connector enrols.
#[derive(Args, Debug)]
#[command(next_help_heading = "Enrolment (POST /relay/enroll)")]
pub(crate) struct EnrolmentArgs {
    /// Let gateways enrol: the environment variable holds enrolment tokens, one a line, of at least 16 characters. Each is
    /// good once, for the id behind it or for any that is not known yet: TOKEN ID, or TOKEN. With --store that is remembered, and so is what
    /// was granted; without, both end with this process
    #[arg(long, value_name = "NAME")]
    pub(crate) enroll_env: Vec<String>,
    /// The same from a file. Empty lines and those that start with # are passed over
    #[arg(long, value_name = "PATH")]
    pub(crate) enroll_file: Vec<PathBuf>,
    /// The environment variable that holds the identity tokens that may enrol, one a line. With none, any identity will
    /// do: the enrolment token decides
    #[arg(long, value_name = "NAME")]
    pub(crate) identity_env: Vec<String>,
}

/// A credential on the command line. Whatever it is, it is taken, because an error of the parser's would show it.
#[derive(Clone, Debug)]
pub(crate) struct Hidden(pub(crate) Credential);

impl From<String> for Hidden {
    fn from(text: String) -> Self {
        Self(Credential::new(text))
    }
}
