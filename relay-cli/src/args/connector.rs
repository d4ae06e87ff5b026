//! The flags of `relay connector`.

use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use relay_proto::token::Secret;

use super::{EnrolmentArgs, SizeArgs};

pub(super) const CONNECTOR_HELP: &str = r#"Commands, on standard input, one object a line; an `id` of any type comes back
in the answer:
  {"deliver":{"text":"hi","source":{"platform":"discord","chat_id":"7"}}}
        A message event. Answered with accepted once it is safe, with --store
        on disk: it waits for the gateway, goes out in order, and again until
        the gateway acknowledges it. One without a text, or for a platform that
        is in no hello of a gateway that has linked, is an error.
  {"forward":{"platform":"discord","method":"POST","path":"/x","headers":[]}}
        A passthrough forward, in the same order.
  {"interrupt":{"session_key":"agent:main:discord:dm:7","chat_id":"7"}}
  {"interrupt":"agent:main:discord:dm:7","chat_id":"7","gateway":"gw"}
        A user stopped a session: ahead of what waits, to the link that there
        is.
  {"result":{"success":true,"message_id":"m1"},"request_id":"…","link":0}
        The result of an outbound (with --answer manual). `link` is the
        outbound's; it may be left out, unless an earlier link asked under the
        same request_id and got no answer.
  {"drop":"gw"}
        Its link is cut, as a network would cut it.
  {"revoke":"gw"}
        Its secrets are good for nothing: its link is closed with 4401, and so
        is the next. With --store also after a restart with the same flags:
        only a new secret lets it in again. Without --store it is let in again
        by the next process.

  Each may have a `gateway`, as in "gateway":"gw". It may be left out, and the
  name after drop and revoke be null, when there is one gateway alone. Without
  authentication there is: all links are of one gateway, `default`.

Events, on standard output, one object a line, by their `event`; all but the
first, error, done and closed have a `gateway`:
  listening    addr, url: the first event
  accepted     buffer_id [id]
  done         id: an interrupt, result, drop or revoke that came with an id is
               carried out
  error        error, line [cause] [id]: that line of the input made no sense,
               or could not be carried out, and changed nothing; `cause` says
               in one word why not: not_an_object, too_large, buffer_full,
               no_link, congested, not_waiting, shut_down, not_stored, other
  hello        platform, bot_id, command_manifest
  outbound     request_id, link, action, platform, bot_id
  interrupt    session_key, reason: the agent stopped a session
  ack          buffer_id: the gateway took it; it will not go out again
  presumed     buffer_id: it counts as taken without an acknowledgement: as all
               do with --presume-acks; else a forward, and a gateway that has
               acknowledged none of them
  given_up     buffer_id: a forward that three links carried and none
               acknowledged
  idle
  enrolled     the gateway redeemed an enrolment token, and can be linked and
               named from now on
  policy       policy {platform, requireAddress, freeResponseScopes,
               allowOtherBots}: which messages the gateway wants; it takes the
               place of its last one for that platform
  link_closed  cause, code, reason; the cause is gateway or connector (who
               closed it: code and reason are what it said), dropped, lost,
               protocol or too_large
  closed       the last event

  JSON of a gateway that many readers refuse (a lone surrogate, a number out of
  range, deep nesting) is null, and its text stands beside it: `action_json`,
  `command_manifest_json`.

Examples:
  $ relay connector --listen 127.0.0.1:8765
  and, elsewhere:
  $ relay gateway --url http://127.0.0.1:8765 --platform discord --bot-id 1234

  $ export GW_SECRET=$(head -c 24 /dev/urandom | base64)
  $ relay connector --listen 0.0.0.0:8443 --gateway-env my-gateway=GW_SECRET \
      --store relay.store --tls-cert cert.pem --tls-key key.pem < /dev/null

  $ head -c 24 /dev/urandom | base64 > tokens.txt
  $ relay connector --listen 127.0.0.1:8765 --enroll-file tokens.txt \
      --store relay.store
  and, elsewhere:
  $ relay enroll --url http://127.0.0.1:8765 --id my-gateway \
      --env-file gateway.env --token-file tokens.txt \
      --identity-file identity.txt"#;

/// Run a connector: let gateways in, deliver to them, print what they do, take commands
///
/// For development and small deployments. What is delivered is kept until the gateway acknowledges it: with --store on
/// disk, durable before it is accepted; else in memory, where it ends with the process.
///
/// SIGINT, SIGTERM and SIGHUP (unless it was ignored at the start, as by nohup, or there is --tls-cert) close in order: every link is closed with 1001, what was read is answered, and output that nobody
/// reads is waited for 5 s. A second signal, half a second after the first or later, ends at once, as a crash would: with
/// --store, nothing that was accepted is lost. The end of input closes in order, too, if any command came: whoever gave
/// them is gone. Input that ends without a command, such as /dev/null, is none: the connector goes on.
///
/// With --tls-cert, SIGHUP reads the certificate, its key and --tls-client-ca again, as after a renewal: new connections are
/// served with them, and links go on. Standard error says so, or what is wrong with the files: then all stays as it was.
/// Only when its terminal goes away, SIGHUP closes all the same.
///
/// While the store cannot be written, because the disk is full for example, what is delivered is answered with an error
/// whose cause is not_stored, and is not delivered (only a crash at that time can make it so); what was accepted before
/// still is, which makes room in the file. The connector goes on by itself once the store can be written again. The same
/// goes for a file that was removed, replaced or moved while it was in use: put it back, or restart the connector.
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
    /// of a newer version, or something else, is an error, and never the start of an empty store. So is one that is damaged:
    /// either everything that was accepted is there, or the connector says what is lost and does not start. If the rest
    /// could be repaired, it says so, and the next start serves the rest
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
    /// Let in only clients that show a certificate that is issued by one in this PEM file: without, TLS itself fails. It is
    /// asked for beside the credentials, and also of gateways that enrol. Repeat it for more
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_client_ca: Vec<PathBuf>,
    /// How long a gateway may take none of what is sent to it, in seconds: after that its link is lost, and what was under
    /// way waits for the next
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = super::SECONDS_OF_DAY)]
    pub(crate) write_timeout: u64,
    /// Who answers outbounds
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) answer: AnswerMode,
    #[command(flatten)]
    pub(crate) sizes: SizeArgs,
    // The last, because its heading is for all that follow.
    #[command(flatten)]
    pub(crate) enrolment: EnrolmentArgs,
}

/// Who answers outbounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AnswerMode {
    /// The connector: what can be carried out succeeds, under message ids that it makes up. What names a platform of no
    /// hello, lacks a member, is too long, or is not supported there fails, with an error that says so
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
