//! The command line itself: flags, help, and what they mean together.

use std::convert::Infallible;
use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use relay_proto::token::Secret;
use relay_tokio::{Config, Proxy};

use crate::{env_file, environment};

mod enroll;

pub(crate) use enroll::{EnrollArgs, EnrolmentArgs};

const EXIT_CODES: &str = "Exit codes:\n  \
    0  fine\n  \
    1  failed: bad input, a refused token, a link lost for good, output that cannot be written\n  \
    2  usage: a flag, or an environment variable that it names, is missing or wrong\n  \
    3  revoked: the connector no longer accepts the gateway's credentials\n\n\
    Logs go to standard error; RELAY_LOG sets their level, for example RELAY_LOG=debug (default: warn).";

/// Gateways and connectors of the Hermes relay protocol, on the command line.
///
/// Without a subcommand this is `relay demo`.
#[derive(Debug, Parser)]
#[command(name = "relay", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(DemoArgs),
    Gateway(Box<GatewayArgs>),
    Connector(Box<ConnectorArgs>),
    Enroll(Box<EnrollArgs>),
    Decode(DecodeArgs),
    /// Mint and verify the tokens that gateways authenticate with
    #[command(
        subcommand,
        after_help = "Example:\n  \
        $ SECRET=s3cret relay token mint --id my-gateway --secret-env SECRET"
    )]
    Token(TokenCommand),
    Url(UrlArgs),
}

/// Show the whole life of a link, on loopback, over real sockets
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ relay demo --once")]
pub(crate) struct DemoArgs {
    /// Tell the story once, without a prompt after it
    #[arg(long)]
    pub(crate) once: bool,
}

/// Print the URL that a gateway dials for a connector's address
///
/// An address that cannot be dialled is an error: it is explained on standard error, and the exit code is 1.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ relay url https://connector.example\n  wss://connector.example/relay")]
pub(crate) struct UrlArgs {
    /// The connector's base URL: https, http, wss or ws
    pub(crate) url: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    Mint(MintArgs),
    Verify(VerifyArgs),
}

/// Print a token
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ SECRET=s3cret relay token mint --id my-gateway --secret-env SECRET")]
pub(crate) struct MintArgs {
    /// The gateway's id
    #[arg(long)]
    pub(crate) id: String,
    /// The environment variable that holds the secret; white space around it is cut off. Blank is an error
    #[arg(long, value_name = "NAME")]
    pub(crate) secret_env: String,
    /// How long the token is good, in seconds; 0 is for ever
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub(crate) ttl: u64,
    /// The time to count from, in unix seconds, instead of the clock's
    #[arg(long, value_name = "UNIX")]
    pub(crate) now: Option<u64>,
}

/// Verify a token: print {"id":…}, or {"refused":"malformed|expired|bad_signature"} with exit code 1
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  \
    $ export OLD=s3cret NEW=s3cret2\n  \
    $ token=$(relay token mint --id my-gateway --secret-env OLD)\n  \
    $ relay token verify --secret-env NEW --secret-env OLD \"$token\"\n  \
    {\"id\":\"my-gateway\"}")]
pub(crate) struct VerifyArgs {
    /// The environment variable that holds the secret; white space around it is cut off. Repeat it for the secrets of
    /// a rotation: any will do, and blank ones among them are skipped with a warning
    #[arg(long, value_name = "NAME", required = true)]
    pub(crate) secret_env: Vec<String>,
    /// The time to judge by, in unix seconds, instead of the clock's
    #[arg(long, value_name = "UNIX")]
    pub(crate) now: Option<u64>,
    /// The token. Whatever starts with a dash and is no flag is taken as one; put `--` before what is
    #[arg(allow_hyphen_values = true)]
    pub(crate) token: String,
}

/// Show what a gateway makes of a connector's frames
///
/// Frames come in on standard input, one a line. For each there is one line on standard output: {"frame":…} with the
/// normalised content, or {"skipped":"why"}. Blank lines are passed over. The exit code at the end of input is 0.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  \
    $ echo '{\"type\":\"inbound\",\"bufferId\":\"1\",\"event\":{\"text\":\"hi\"}}' | relay decode")]
pub(crate) struct DecodeArgs {
    /// Add the content's own JSON, as `raw`, with the fields that this version does not know
    #[arg(long)]
    pub(crate) raw: bool,
}

/// When a delivery is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AckMode {
    /// As soon as its line is written
    Auto,
    /// On {"do":"ack","delivery":N}
    Manual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Runtime {
    /// relay-tokio
    Tokio,
    /// relay-async-std
    AsyncStd,
    /// relay-blocking: threads
    Blocking,
}

const GATEWAY_HELP: &str = r#"Events, on standard output, one object a line, by their `event`:
  ready         descriptor
  message       delivery, buffer_id, session_key, key, message [prompt_response] [media] [reply_to]
                [platform_name] [raw]
  passthrough   delivery, buffer_id, key, forward [prompt_response] [raw]
  undecodable   delivery, buffer_id, key, frame_type, reason, raw
  interrupt     session_key, chat_id
  disconnected  cause, code, reason, retry_in_ms (null: no further dial by itself) [problem]
  idle
  result        id, outcome, result [error, cause] [chat_info]
  error         error, line [id]: that line of the input made no sense, and changed nothing
  revoked       cause, code, reason: the last event, and exit code 3
  closed        the last event

  The `problem` of a disconnected whose cause is tls: wrong_name, expired, not_yet_valid,
  unknown_issuer, revoked, bad_certificate, client_certificate, configuration, handshake.
  `key` names a delivery in every run: use it to tell a replay after a crash.
  `prompt_response` says which option of a prompt was pressed (prompt_id, option_id, label,
  prompt_message_id), `media` what came with a message (each with url, kind, mime, size, filename,
  caption), `reply_to` what it answers (message_id, text, author, is_own).
  The outcome of a request is delivered, declined, rejected, not_sent (sending it again cannot
  do it twice) or ambiguous (it may have been done); the last two say why in `error`, and in
  one word in `cause`.
  JSON of the connector's that many readers refuse (a lone surrogate, a number out of range,
  deep nesting) is null, and its text stands beside it: `result_json`, `raw_json`.

Commands, on standard input, one object a line; an `id` of any type comes back in the answer:
  {"op":"send","chat_id":"7","content":"hi","id":1}
        Any action, answered with a result. `id` and `platform` are not part of the action:
        `platform` chooses among the platforms that are fronted; without it, it is the chat's.
        What the chat's messages said is added to `metadata` (scope_id or user_id, profile), unless
        it is there. An op that the connector does not support there is not sent, and the cause is
        unsupported.
  {"do":"ack","delivery":1}
        The delivery is taken (with --ack manual).
  {"do":"give_back","delivery":1}
        It is not, and comes again on the next link (with --ack manual).
  {"do":"interrupt","session_key":"agent:main:discord:dm:7","reason":"stopped"}
        The agent stopped a session. Answered only when it could not be sent.
  {"do":"go_idle"} {"do":"go_dormant"}
        Answered with a result, whose outcome is acknowledged, timed_out or no_link.
  {"do":"wake"} {"do":"reconnect"} {"do":"hold_redial"} {"do":"release_redial"}
  {"do":"close"}
        Closes in order, as the end of input does.

Without --url the configuration comes from the environment: GATEWAY_RELAY_URL,
GATEWAY_RELAY_PLATFORMS (a comma list), GATEWAY_RELAY_BOT_IDS (JSON, platform to {"botId":…}),
GATEWAY_RELAY_ID and GATEWAY_RELAY_SECRET; or from --env-file, which `relay enroll` writes.

HTTPS_PROXY (for wss), HTTP_PROXY (for ws), ALL_PROXY and NO_PROXY are heeded with and without
--url; loopback is always reached directly.

Examples:
  $ relay gateway --url http://127.0.0.1:8765 --platform discord --bot-id 1234
  $ relay gateway --url https://connector.example --id my-gateway --secret-env RELAY_SECRET \
      --platform discord --bot-id 1234 --platform telegram --bot-id 5678 \
      --ack manual --exec python3 agent.py
  $ relay gateway --url https://10.0.0.5:8443 --platform discord --bot-id 1234 --tls-ca ca.pem"#;

/// Run a gateway: dial a connector, print events, take commands
///
/// The end of input, SIGINT and SIGTERM close in order: requests under way are given time to finish. After a signal,
/// output that nobody reads is waited for 5 s; a second signal ends at once. The exit code is 0 after closing in order,
/// 1 when the link is gone for good and nobody asked for that (--no-reconnect), 3 when the credentials are revoked.
#[derive(Args, Debug)]
#[command(after_help = GATEWAY_HELP)]
pub(crate) struct GatewayArgs {
    /// The connector's base URL. Without it, see GATEWAY_RELAY_URL below
    #[arg(long, requires = "platform")]
    pub(crate) url: Option<String>,
    /// A file with those variables, as `relay enroll` writes it. What it holds goes before the environment, and the program
    /// of --exec does not see it
    #[arg(long, value_name = "PATH", conflicts_with = "url")]
    pub(crate) env_file: Option<PathBuf>,
    /// A platform to front: discord, telegram, … Repeat it for more; the first is the default
    #[arg(long, requires = "url")]
    pub(crate) platform: Vec<String>,
    /// The bot's id there: one for each --platform, in the same order
    #[arg(long, requires = "url")]
    pub(crate) bot_id: Vec<String>,
    /// The gateway's id, to authenticate with
    #[arg(long, requires = "url")]
    pub(crate) id: Option<String>,
    /// The environment variable that holds the gateway's secret; white space around it is cut off
    #[arg(long, value_name = "NAME", requires = "url")]
    pub(crate) secret_env: Option<String>,
    /// What moves the link's bytes. Nothing that can be seen here depends on it
    #[arg(long, value_enum, default_value = "tokio")]
    pub(crate) runtime: Runtime,
    /// When a delivery is acknowledged
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) ack: AckMode,
    /// Requests made without a ready link wait for one, up to 30 s, instead of ending as not sent
    #[arg(long)]
    pub(crate) wait_for_link: bool,
    /// Send credentials also over plaintext ws to a host that is not this one: whoever sees the connection can take them
    #[arg(long)]
    pub(crate) allow_plaintext_credentials: bool,
    /// Reach the connector through this HTTP proxy: http://USER:PASSWORD@HOST:PORT. Other users of this machine can
    /// see a password here; in HTTPS_PROXY they cannot
    // Not parsed by clap, whose errors repeat the value.
    #[arg(long, value_name = "URL", conflicts_with = "no_proxy")]
    pub(crate) proxy: Option<String>,
    /// Reach the connector directly, whatever HTTPS_PROXY, HTTP_PROXY and ALL_PROXY say
    #[arg(long)]
    pub(crate) no_proxy: bool,
    /// Do not dial again: the first end of a link, or of a dial, is the last
    #[arg(long)]
    pub(crate) no_reconnect: bool,
    /// Add each delivery's own JSON, as `raw`, with the fields that this version does not know
    #[arg(long)]
    pub(crate) raw: bool,
    /// A program that gets the events on its standard input, and whose standard output is the commands; everything after
    /// --exec is its command line. It does not see the secret. When it exits the gateway closes in order, with exit code
    /// 0 if the program succeeded, else 1
    #[arg(long, value_name = "CMD", num_args = 1.., allow_hyphen_values = true)]
    pub(crate) exec: Option<Vec<OsString>>,
    // The last, because its heading is for all that follow.
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
}

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

impl GatewayArgs {
    /// The gateway's configuration, from the flags or from the environment.
    ///
    /// # Errors
    /// What is wrong and what to do. Never shows a secret.
    pub(crate) fn config(&self) -> Result<Config, String> {
        let config = match &self.url {
            Some(url) => self.dialling(url)?,
            None => self.read_variables().map_err(|error| format!("{error} (or use --url and --platform)"))?,
        };
        let config = match &self.proxy {
            Some(proxy) => config.proxy(Proxy::parse(proxy).map_err(|error| format!("--proxy: {error}"))?),
            None if self.no_proxy => config.no_proxy(),
            None => config.proxy_from_env().map_err(|error| error.to_string())?,
        };
        Ok(config.allow_plaintext_credentials(self.allow_plaintext_credentials).reconnect(!self.no_reconnect))
    }

    fn read_variables(&self) -> Result<Config, String> {
        let Some(path) = &self.env_file else { return Config::from_env().map_err(|error| error.to_string()) };
        let file = env_file::Variables::read(path).map_err(|error| format!("--env-file: {error}"))?;
        let lookup = |name: &'static str| match file.get(name) {
            Some(value) => Ok(Some(value.to_owned())),
            None => environment::variable(name),
        };
        Config::from_vars(lookup).map_err(|error| error.to_string())
    }

    fn dialling(&self, url: &str) -> Result<Config, String> {
        if self.platform.len() != self.bot_id.len() {
            return Err(format!(
                "{} --platform and {} --bot-id: each platform needs its bot id, in the same order",
                self.platform.len(),
                self.bot_id.len()
            ));
        }
        let mut config = Config::new(url);
        for (platform, bot_id) in self.platform.iter().zip(&self.bot_id) {
            config = config.identity(platform, bot_id);
        }
        // What is blank or alone is told as a warning when the gateway starts (DIAL-2).
        let secret = self.secret_env.as_deref().map(environment::secret).transpose()?;
        Ok(match (&self.id, secret) {
            (id, Some(secret)) => config.credentials(id.as_deref().unwrap_or_default(), secret),
            (Some(id), None) => config.gateway_id(id),
            (None, None) => config,
        })
    }
}

const CONNECTOR_HELP: &str = r#"Commands, on standard input, one object a line; an `id` of any type comes back in the answer:
  {"deliver":{"text":"hi","source":{"platform":"discord","chat_id":"7"}},"gateway":"gw","id":1}
        A message event. Answered with accepted once it is safe, with --store on disk: it waits for the gateway, goes
        out in order, and again until the gateway acknowledges it.
  {"forward":{"platform":"discord","method":"POST","path":"/x","headers":[],"bodyB64":"aGk="},"gateway":"gw"}
        A passthrough forward, in the same order.
  {"interrupt":{"session_key":"agent:main:discord:dm:7","chat_id":"7"},"gateway":"gw"}
  {"interrupt":"agent:main:discord:dm:7","chat_id":"7","gateway":"gw"}
        A user stopped a session: ahead of what waits, to the link that there is.
  {"result":{"success":true,"message_id":"m1"},"request_id":"…","gateway":"gw"}
        The result of an outbound (with --answer manual).
  {"drop":"gw"}
        Its link is cut, as a network would cut it.
  {"revoke":"gw"}
        Its secrets are good for nothing until this process ends: its link is closed with 4401,
        and so is the next. What it was granted by enrolment is taken back for good.

  `gateway` may be left out, and the name after drop and revoke be null, when there is one
  gateway alone. Without authentication there is: all links are of one gateway, `default`.

Events, on standard output, one object a line, by their `event`; all but the first, error, done
and closed have a `gateway`:
  listening    addr, url: the first event
  accepted     buffer_id [id]
  done         id: an interrupt, result, drop or revoke that came with an id is carried out
  error        error, line [cause] [id]: that line of the input made no sense, or could not be
               carried out, and changed nothing; `cause` says in one word why not
  hello        platform, bot_id, command_manifest
  outbound     request_id, action, platform, bot_id
  interrupt    session_key, reason: the agent stopped a session
  ack          buffer_id: the gateway took it; it will not go out again
  presumed     buffer_id: it counts as taken without an acknowledgement: as all do with
               --presume-acks; else a forward, and a gateway that has acknowledged none of them
  given_up     buffer_id: a forward that three links carried and none acknowledged
  idle
  enrolled     the gateway redeemed an enrolment token, and can be linked and named from now on
  policy       policy {platform, requireAddress, freeResponseScopes, allowOtherBots}: which
               messages the gateway wants; it takes the place of its last one for that platform
  link_closed  cause, code, reason; the cause is gateway or connector (who closed it: code and
               reason are what it said), dropped, lost, protocol or too_large
  closed       the last event

  JSON of a gateway that many readers refuse (a lone surrogate, a number out of range, deep
  nesting) is null, and its text stands beside it: `action_json`, `command_manifest_json`.

Examples:
  $ relay connector --listen 127.0.0.1:8765
  and, elsewhere: relay gateway --url http://127.0.0.1:8765 --platform discord --bot-id 1234

  $ GW_SECRET=s3cret relay connector --listen 0.0.0.0:8443 --gateway-env my-gateway=GW_SECRET \
      --store relay.store --tls-cert cert.pem --tls-key key.pem < /dev/null

  $ head -c 24 /dev/urandom | base64 > tokens.txt
  $ relay connector --listen 127.0.0.1:8765 --enroll-file tokens.txt --store relay.store
  and, elsewhere: relay enroll --url http://127.0.0.1:8765 --id my-gateway --env-file gateway.env \
      --token-file tokens.txt --identity-file identity.txt"#;

/// Run a connector: let gateways in, deliver to them, print what they do, take commands
///
/// For development and small deployments. What is delivered is kept until the gateway acknowledges it: with --store on
/// disk, durable before it is accepted; else in memory, where it ends with the process.
///
/// SIGINT and SIGTERM close in order: every link is closed with 1001, what was read is answered, and output that nobody
/// reads is waited for 5 s. A second signal ends at once, as a crash would: with --store, nothing that was accepted is
/// lost. The end of input closes in order, too, if any command came: whoever gave them is gone. Input that ends without
/// a command, such as /dev/null, is none: the connector goes on.
///
/// While the store cannot be written, because the disk is full for example, what is delivered is answered with an error
/// whose cause is not_stored, and is not delivered (only a crash at that time can make it so); what was accepted before
/// still is, which makes room in the file. The connector goes on by itself once the store can be written again.
///
/// The exit code is 0 after closing in order; 1 when it cannot listen, the store cannot be used, or events cannot be
/// written or are not read at the end, and after a second signal; 2 for a wrong command line.
#[derive(Args, Debug)]
#[command(after_help = CONNECTOR_HELP)]
pub(crate) struct ConnectorArgs {
    /// Where to listen: HOST:PORT; port 0 picks a free one, which `listening` names
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: String,
    /// A gateway to let in, and the environment variable that holds its secret; white space around that is cut off.
    /// Repeat it for more, and with the same ID for the secrets of a rotation: any will do. With none, nobody has to
    /// authenticate
    #[arg(long, value_name = "ID=NAME")]
    pub(crate) gateway_env: Vec<String>,
    /// The same with the secret itself. Whoever can list processes can read it: prefer --gateway-env
    #[arg(long, value_name = "ID=SECRET")]
    pub(crate) gateway: Vec<Registration>,
    /// A JSON file with the descriptor of a platform, or a list of them. Without one, discord, telegram and slack have
    /// theirs, and other platforms every default
    #[arg(long, value_name = "FILE")]
    pub(crate) descriptor: Vec<PathBuf>,
    /// The file to keep deliveries in; it is made when there is none. One connector at a time can use it. A file that is
    /// damaged, of a newer version, or something else is an error, and never the start of an empty store
    #[arg(long, value_name = "PATH")]
    pub(crate) store: Option<PathBuf>,
    /// How many deliveries may be unacknowledged on a link, from 1 to 65536. A gateway that acknowledges nothing gets no
    /// more than these on a link, unless there is --presume-acks
    #[arg(
        long,
        value_name = "N",
        default_value_t = 16,
        value_parser = clap::value_parser!(u32).range(1..=65536),
        allow_negative_numbers = true
    )]
    pub(crate) window: u32,
    /// For gateways that acknowledge nothing, such as the reference gateway before 0.18: a delivery counts as taken once
    /// it has been handed to the link. What was under way when a link breaks is lost, and nobody is told, which is why
    /// this has to be asked for. =ID, which can be repeated, is for that gateway alone; without it, for all. One that does
    /// acknowledge is held to it from its first acknowledgement on; what waited may have gone out by then
    #[arg(long, value_name = "ID", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub(crate) presume_acks: Vec<String>,
    /// Speak TLS: a PEM file with the certificate and its chain
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// A PEM file with the certificate's private key
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Who answers outbounds
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) answer: AnswerMode,
    // The last, because its heading is for all that follow.
    #[command(flatten)]
    pub(crate) enrolment: EnrolmentArgs,
}

/// Who answers outbounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AnswerMode {
    /// The connector: everything succeeds, under message ids that it makes up
    Auto,
    /// {"result":…} on standard input
    Manual,
}

/// What follows `--gateway`. Whatever it is, it is taken, because an error of the parser's would show it.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    /// `None` when it has not the form `ID=SECRET`.
    pub(crate) id: Option<String>,
    pub(crate) secret: Secret,
}

impl FromStr for Registration {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.split_once('=') {
            Some((id, secret)) => Self { id: Some(id.to_owned()), secret: Secret::new(secret.trim()) },
            None => Self { id: None, secret: Secret::new("") },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}
