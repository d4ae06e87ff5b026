//! The flags of `relay gateway`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use relay_proto::chat::SessionKeys;
use relay_proto::gateway::Limits;
use relay_tokio::{Config, Identity, Proxy};

use super::{SessionArgs, SizeArgs, TlsArgs};
use crate::{env_file, environment, gateway_id};

/// When a delivery is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AckMode {
    /// As soon as its line is written
    Auto,
    /// When the program has answered, or on {"do":"ack","delivery":N}
    Answered,
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

pub(super) const GATEWAY_HELP: &str = r#"Events, on standard output, one object a line, by their `event`:
  ready         descriptor
  message       delivery, buffer_id, session_key, key, message
                [prompt_response] [media] [reply_to] [platform_name] [raw]
  passthrough   delivery, buffer_id, key, forward [prompt_response] [raw]
  undecodable   delivery, buffer_id, key, frame_type, reason, raw
  interrupt     session_key, chat_id
  disconnected  cause, code, reason, retry_in_ms (null: no further dial by
                itself) [problem]
  idle
  result        id, outcome, result [error, cause] [chat_info] [prompt_id]
  error         error, line [id]: that line of the input made no sense, and
                changed nothing
  revoked       cause, code, reason: the last event, and exit code 3
  closed        the last event

  The cause of a disconnected: normal, failed, no_descriptor, replaced,
  going_away, protocol, too_large, unauthorized, forbidden, lost, http_status
  (its `code`), unreachable, proxy, tls, timed_out, queue_full, dormant,
  requested, panicked. That of a revoked: unauthorized, or http_status with
  code 401.
  The `problem` of a disconnected whose cause is tls: wrong_name, expired,
  not_yet_valid, unknown_issuer, revoked, bad_certificate, client_certificate,
  configuration, handshake.
  `key` names a delivery in every run: use it to tell a replay after a crash.
  `prompt_response` says which option of a prompt was pressed (prompt_id,
  option_id, label, prompt_message_id), `media` what came with a message (each
  with url, kind, mime, size, filename, caption), `reply_to` what it answers
  (message_id, text, author, is_own).
  The outcome of a request is delivered, declined, rejected, not_sent (sending
  it again cannot do it twice) or ambiguous (it may have been done); the last
  two say why in `error`, and in one word in `cause`. Of not_sent: no_link,
  timed_out, too_large, shut_down, revoked, unsupported, not_fronted, other.
  Of ambiguous: timed_out, link_lost, shut_down, other,
  and connector (its result says so).
  JSON of the connector's that many readers refuse (a lone surrogate, a number
  out of range, deep nesting) is null, and its text stands beside it:
  `result_json`, `raw_json`.

Commands, on standard input, one object a line; an `id` of any type comes back
in the answer, which an action, go_idle and go_dormant have, and whatever goes
wrong. The others have none:
  {"op":"send","chat_id":"7","content":"hi","id":1}
        Any action, answered with a result: one line is one request. A text is
        not split: one that is longer than the descriptor's max_message_length,
        in its len_unit, is for you to send in several lines. `id`, `platform`
        and `bot_id` are not part of the action: `platform` chooses among the
        platforms that are fronted (any other is an error), `bot_id` among the
        bots; without them, they are those of the chat's last message.
        What the chat's messages said is added to `metadata` (scope_id or
        user_id, profile), unless it is there. An op that the connector does
        not support there is not sent, and the cause is unsupported.

        The actions that there are, by their `op`, with their fields. A ? marks
        one that may be missing; each may have `metadata`, an object. In the
        result of most is a `message_id`.
        send           chat_id, content, reply_to?
        edit           chat_id, message_id, content
        typing         chat_id, content?
                       "content":"" takes it back, on platforms where it does
                       not end by itself
        react          chat_id, message_id, emoji, remove?
                       "remove":true takes the reaction back
        send_media     chat_id, media_kind, source_url, content, filename?,
                       reply_to?
                       media_kind: image, voice, audio, video, document;
                       content: the caption; source_url: where the connector
                       fetches it
        prompt         chat_id, prompt_kind, prompt_id?, content, options,
                       timeout_s?, reply_to?
                       prompt_kind: choice, approval, clarify
                       options: a list of buttons, each with an `id`, a `label`
                       and perhaps a `style` (primary, success, danger,
                       secondary), as in {"id":"yes","label":"Yes"}
                       Without a prompt_id one is made; the result has it, and
                       so has the `prompt_response` of the answer
        thread_create  chat_id, thread_name, message_id?
                       message_id: the message that it begins at; in the result
                       is a thread_id
        thread_rename  chat_id, message_id, thread_name, only_if_current_name?
                       message_id: the thread
        follow_up      session_key, kind, content
                       kind: a capability that the connector holds, as in
                       discord.interaction_token
        get_chat_info  chat_id
                       the result has `chat_info`: name, type
        A message in a thread is answered with "metadata":{"thread_id":…}, the
        message's.

  {"do":"ack","delivery":1}
        The delivery is taken (with --ack answered or manual).
  {"do":"give_back","delivery":1}
        It is not, and comes again on the next link (with --ack answered or
        manual).
  {"do":"interrupt","session_key":"agent:main:discord:dm:7","reason":"stopped"}
        The agent stopped a session. Answered only when it could not be sent.
  {"do":"go_idle"} {"do":"go_dormant"}
        Answered with a result, whose outcome is acknowledged, timed_out or
        no_link.
  {"do":"wake"} {"do":"reconnect"} {"do":"hold_redial"} {"do":"release_redial"}
  {"do":"close"}
        Closes in order, as the end of input does.

With --ack answered, the default of --exec, a message is acknowledged when its
answer has ended:
  An answer is a send, send_media, prompt or follow_up in the message's chat or
  session. It is for the oldest message there that has none yet. If its
  reply_to is a message_id, it is for that message and the earlier ones of the
  chat. So is any action but typing whose `id` is the `key` of a message. A
  further part of an answer names its message, too, in one of these ways: else
  it is for the next. An answer that finds no link gives its message back: it
  comes again.
  A message that needs no answer is yours to acknowledge, with
  {"do":"ack","delivery":N}: until then it holds up the acknowledgements behind
  it, and connectors stop delivering at some number of them. At 16 a warning
  says so. When the program ends, all that it has not answered or acknowledged
  is delivered again, to its next run.
  What nobody answers is acknowledged once it is written: passthrough,
  undecodable, what has no buffer_id, and a message without a chat_id. To
  acknowledge these yourself, use --ack manual.

Without --url the configuration comes from the environment: GATEWAY_RELAY_URL,
GATEWAY_RELAY_PLATFORMS (a comma list), GATEWAY_RELAY_BOT_IDS (JSON, platform
to {"botId":…}), GATEWAY_RELAY_ID and GATEWAY_RELAY_SECRET; or from --env-file,
which `relay enroll` writes.
A gateway that is told of no platform fronts `relay`, with an empty bot id: the
connector knows by its id what it is for.

HTTPS_PROXY (for wss), HTTP_PROXY (for ws), ALL_PROXY and NO_PROXY are heeded
with and without --url; loopback is always reached directly.

Examples:
  $ relay gateway --url http://127.0.0.1:8765 --platform discord --bot-id 1234
  $ relay gateway --url https://connector.example --id my-gateway \
      --secret-env RELAY_SECRET --platform discord --bot-id 1234 \
      --platform telegram --bot-id 5678 \
      --exec python3 agent.py
  $ relay gateway --url https://10.0.0.5:8443 --platform discord --bot-id 1234 \
      --tls-ca ca.pem"#;

/// Run a gateway: dial a connector, print events, take commands
///
/// The end of input, SIGINT, SIGTERM and SIGHUP (unless it was ignored at the start, as by nohup) close in order: requests
/// under way are given time to finish. After a signal, output that nobody reads is waited for 5 s; a second signal, half a
/// second after the first or later, ends at once, and kills the program of --exec.
///
/// The exit code is 0 after closing in order; 1 when the link is gone for good and nobody asked for that (--no-reconnect),
/// when nobody reads standard output any more, when its last events are not read in those 5 s, and after a second signal;
/// 2 for a wrong command line; 3 when the credentials are revoked.
#[derive(Args, Debug)]
#[command(after_help = GATEWAY_HELP)]
pub(crate) struct GatewayArgs {
    /// The connector's base URL. Without it, see GATEWAY_RELAY_URL below
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// A file with those variables, as `relay enroll` writes it. What it holds goes before the environment, and the program
    /// of --exec does not see it
    // Not only with the URL: clap lets what requires it pass when that is ruled out.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["url", "platform", "bot_id", "id", "secret_env"])]
    pub(crate) env_file: Option<PathBuf>,
    /// A platform to front: discord, telegram, … Repeat it for more; the first is the default
    #[arg(long, requires = "url")]
    pub(crate) platform: Vec<String>,
    /// The bot's id there: one for each --platform, in the same order, or none at all
    #[arg(long, requires_all = ["url", "platform"])]
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
    /// When a delivery is acknowledged. The default is answered with --exec, and auto without
    #[arg(long, value_enum)]
    pub(crate) ack: Option<AckMode>,
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
    #[command(flatten)]
    pub(crate) sizes: SizeArgs,
    /// A program that gets the events on its standard input, and whose standard output is the commands; everything after
    /// --exec is its command line. It does not see the secret, nor the user and the password of a proxy (on Linux not in /proc either, unless it
    /// may trace every process). When it exits the gateway closes in order, with exit code
    /// 0 if the program succeeded, else 1. Once it has closed its standard input, deliveries are not acknowledged any more,
    /// and a warning says so
    #[arg(long, value_name = "CMD", num_args = 1.., allow_hyphen_values = true)]
    pub(crate) exec: Option<Vec<OsString>>,
    // The last two, because their headings are for all that follow.
    #[command(flatten)]
    pub(crate) session: SessionArgs,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
}

impl GatewayArgs {
    /// When a delivery is acknowledged. A program that crashes must not lose what it was working on; what reads standard
    /// output is not ours to watch.
    pub(crate) fn ack(&self) -> AckMode {
        self.ack.unwrap_or(if self.exec.is_some() { AckMode::Answered } else { AckMode::Auto })
    }

    /// The gateway's configuration and its session keys, from the flags or from the environment.
    ///
    /// # Errors
    /// What is wrong and what to do. Never shows a secret.
    pub(crate) fn config(&self) -> Result<(Config, SessionKeys), String> {
        // Once: the file may be a pipe.
        let file = self.env_file.as_deref().map(env_file::Variables::read).transpose();
        let file = file.map_err(|error| format!("--env-file: {error}"))?;
        let lookup = |name: &'static str| match file.as_ref().and_then(|file| file.get(name)) {
            Some(value) => Ok(Some(value.to_owned())),
            None => environment::variable(name),
        };
        let config = match &self.url {
            Some(url) => self.dialling(url)?,
            None => self.variables(&lookup)?,
        };
        let config = match &self.proxy {
            Some(proxy) => config.proxy(Proxy::parse(proxy).map_err(|error| format!("--proxy: {error}"))?),
            None if self.no_proxy => config.no_proxy(),
            None => config.proxy_from_env().map_err(|error| error.to_string())?,
        };
        let config = config.allow_plaintext_credentials(self.allow_plaintext_credentials).limits(self.limits());
        Ok((config.reconnect(!self.no_reconnect), self.session.keys(lookup)?))
    }

    fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        (limits.line, limits.frame) = (self.sizes.max_line, self.sizes.max_frame);
        limits.message = self.sizes.message(limits.message);
        limits
    }

    fn variables(&self, lookup: &dyn Fn(&'static str) -> Result<Option<String>, String>) -> Result<Config, String> {
        let lookup = |name: &'static str| {
            let value = lookup(name)?;
            if name == "GATEWAY_RELAY_ID" {
                value.as_deref().map(|id| usable(id.trim())).transpose()?;
            }
            Ok(value)
        };
        env_file::config(&lookup).map_err(|error| match &self.env_file {
            Some(file) => format!("{error} (the variables are those of `{}` and of the environment)", file.display()),
            None => format!("{error} (or use --env-file, or --url and the flags behind it)"),
        })
    }

    fn dialling(&self, url: &str) -> Result<Config, String> {
        let identities = identities(&self.platform, &self.bot_id)?;
        let mut config = Config::new(url);
        for (platform, bot_id) in identities {
            config = config.identity(platform, bot_id);
        }
        self.id.as_deref().map(usable).transpose().map_err(|problem| format!("--id: {problem}"))?;
        // What is blank or alone is told as a warning when the gateway starts (DIAL-2).
        let secret = self.secret_env.as_deref().map(environment::secret).transpose()?;
        Ok(match (&self.id, secret) {
            (id, Some(secret)) => config.credentials(id.as_deref().unwrap_or_default(), secret),
            (Some(id), None) => config.gateway_id(id),
            (None, None) => config,
        })
    }
}

/// What `--platform` and `--bot-id` say together: as the variables do, a platform may be without a bot id, and a gateway
/// without a platform.
///
/// # Errors
/// A name that is none; or some platforms have a bot id, and some have none, and nothing says which.
pub(crate) fn identities<'a>(
    platforms: &'a [String],
    bot_ids: &'a [String],
) -> Result<Vec<(&'a str, &'a str)>, String> {
    if platforms.is_empty() {
        return Ok(vec![(Identity::GENERIC, "")]);
    }
    if platforms.iter().any(|platform| platform.trim().is_empty()) {
        return Err("--platform is blank: name a platform, for example discord, or leave the flag out".into());
    }
    if platforms.iter().any(|platform| platform.contains(',')) {
        return Err(
            "--platform takes one platform: repeat it for each, as in --platform discord --platform slack".into()
        );
    }
    if !bot_ids.is_empty() && bot_ids.len() != platforms.len() {
        return Err(format!(
            "{} --platform and {} --bot-id: give each platform its bot id, in the same order (\"\" for a platform that has \
             none), or leave --bot-id out",
            platforms.len(),
            bot_ids.len()
        ));
    }
    let bot_ids = bot_ids.iter().map(String::as_str).chain(std::iter::repeat(""));
    Ok(platforms.iter().map(String::as_str).zip(bot_ids).collect())
}

/// An id that can be authenticated with, or a blank one, which counts as none (DIAL-2).
fn usable(id: &str) -> Result<(), String> {
    if id.trim().is_empty() { Ok(()) } else { gateway_id::check(id) }
}
