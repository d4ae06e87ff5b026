//! The command line itself: flags, help, and what they mean together.

use clap::{Args, Parser, Subcommand};

mod connector;
mod enroll;
mod gateway;
mod session;
mod sizes;
mod tls;

pub(crate) use connector::{AnswerMode, ConnectorArgs};
pub(crate) use enroll::{EnrollArgs, EnrolmentArgs};
pub(crate) use gateway::{AckMode, GatewayArgs, Runtime, identities};
pub(crate) use session::SessionArgs;
pub(crate) use sizes::SizeArgs;
pub(crate) use tls::TlsArgs;

const EXIT_CODES: &str = "Exit codes:\n  \
    0  fine\n  \
    1  failed: bad input, a refused token, a link lost for good, output that\n     \
       cannot be written\n  \
    2  usage: a flag, or an environment variable or a file that it names, is\n     \
       missing or wrong\n  \
    3  revoked: the connector no longer accepts the gateway's credentials\n\n\
    Logs go to standard error; RELAY_LOG sets their level, for example\n\
    RELAY_LOG=debug (default: warn).";

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
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = SECONDS)]
    pub(crate) ttl: u64,
    /// The time to count from, in unix seconds, instead of the clock's
    #[arg(long, value_name = "UNIX", value_parser = SECONDS)]
    pub(crate) now: Option<u64>,
}

/// Reads a time from a flag. A pointer, so that the parser's code is there once for all of them.
type Seconds = fn(&str) -> Result<u64, String>;

/// Any time.
const SECONDS: Seconds = |text| whole_seconds(text, 0, u64::MAX);
/// At most an hour.
const SECONDS_OF_HOUR: Seconds = |text| whole_seconds(text, 1, 3600);
/// At most a day.
const SECONDS_OF_DAY: Seconds = |text| whole_seconds(text, 1, 86400);

fn whole_seconds(text: &str, min: u64, max: u64) -> Result<u64, String> {
    match text.parse() {
        Ok(seconds) if (min..=max).contains(&seconds) => Ok(seconds),
        Ok(_) => Err(format!("it is from {min} to {max} seconds")),
        Err(_) => Err("it is given in whole seconds, as in 300".into()),
    }
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
    #[arg(long, value_name = "UNIX", value_parser = SECONDS)]
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
    $ echo '{\"type\":\"inbound\",\"event\":{\"text\":\"hi\"}}' | relay decode")]
pub(crate) struct DecodeArgs {
    /// Add the content's own JSON, as `raw`, with the fields that this version does not know
    #[arg(long)]
    pub(crate) raw: bool,
    // The last, because its heading is for all that follow.
    #[command(flatten)]
    pub(crate) session: SessionArgs,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    /// The words that a function gives: the literals in its source. The compiler has no list of what is open to more.
    fn given_by<'a>(source: &'a str, function: &str) -> BTreeSet<&'a str> {
        let body = source.split_once(&format!("fn {function}(")).unwrap_or_else(|| panic!("no {function}")).1;
        let body = body.split_once("\n}").unwrap().0;
        let arms = body.lines().filter_map(|line| line.split_once(" => ")).map(|(_, word)| word);
        let words: BTreeSet<_> = arms.map(|word| word.split('"').nth(1).unwrap()).collect();
        assert!(words.len() > 3, "{words:?}");
        words
    }

    /// The words of a list in a help text, between these two. What is in parentheses explains.
    fn listed<'a>(help: &'a str, from: &str, to: &str) -> BTreeSet<&'a str> {
        let rest = help.split_once(from).unwrap_or_else(|| panic!("no {from}")).1;
        let list = rest.split_once(to).unwrap().0;
        let words = list.split([',', '\n']).map(|item| item.split_once('(').map_or(item, |(word, _)| word).trim());
        words.filter(|word| !word.is_empty()).map(|word| word.strip_prefix("and ").unwrap_or(word)).collect()
    }

    #[test]
    fn the_help_has_every_word_that_programs_branch_on_and_no_other() {
        let ending = include_str!("../../relay-proto/src/gateway/ending.rs");
        // `as_str` is a method: it ends where its type's block does.
        let help = gateway::GATEWAY_HELP;
        assert_eq!(listed(help, "cause of a disconnected:", ". That of"), given_by(ending, "as_str"));
        let tls = include_str!("../../relay-proto/src/end.rs");
        assert_eq!(listed(help, "whose cause is tls:", "."), given_by(tls, "as_str"));
        let report = include_str!("gateway/report.rs");
        assert_eq!(listed(help, "Of not_sent:", ".\n"), given_by(report, "not_sent_cause"));
        let mut ambiguous = given_by(report, "ambiguous_cause");
        // What a connector says of itself is reported elsewhere.
        assert!(report.contains(r#".text("cause", "connector")"#));
        ambiguous.insert("connector");
        assert_eq!(listed(help, "Of ambiguous:", ".\n"), ambiguous);

        // CHAT-4 has the actions and their fields in a table.
        let contract = include_str!("../../docs/contract.md");
        let table = contract.split_once("| `op` | fields |").unwrap().1.split_once("\n\n").unwrap().0;
        let rows = table.lines().filter(|line| line.starts_with("  | `"));
        let mut ops = 0;
        for row in rows {
            // What is in code is a name; what is not explains.
            let mut names = row.split('`').skip(1).step_by(2);
            let op = names.next().unwrap();
            let fields = row.split('|').nth(2).unwrap();
            let fields: Vec<&str> = fields.split('`').skip(1).step_by(2).collect();
            let mut lines = help.lines();
            let line = lines.find_map(|line| line.strip_prefix("        ")?.strip_prefix(op));
            let line = line.unwrap_or_else(|| panic!("no {op}"));
            // A list that goes on in the next line ends with a comma.
            let more = if line.ends_with(',') { lines.next().unwrap() } else { "" };
            let listed = line.split(',').chain(more.split(',')).map(str::trim).filter(|field| !field.is_empty());
            let listed: Vec<&str> = listed.collect();
            // A prompt may come without its id: the gateway makes one.
            let listed: Vec<&str> =
                listed.into_iter().map(|field| if field == "prompt_id?" { "prompt_id" } else { field }).collect();
            assert_eq!(listed, fields, "{op}");
            ops += 1;
        }
        assert_eq!(ops, 10);

        let report = include_str!("connector/report.rs");
        let mut refused = given_by(report, "refused_cause");
        assert!(report.contains(r#".text("cause", "not_stored")"#));
        refused.insert("not_stored");
        assert_eq!(listed(connector::CONNECTOR_HELP, "one word why not:", "\n  hello"), refused);
    }
}
