//! `relay decode`: what a gateway makes of each frame.

use std::io::{self, Read, Write};
use std::process::ExitCode;

use relay_proto::chat::SessionKeys;
use relay_proto::frame::{self, Content, FromConnector, RawJson};
use relay_proto::ndjson::{self, LineTooLong};

use crate::args::DecodeArgs;
use crate::json::Object;
use crate::lines::{self, Line, Lines};
use crate::output::{self, Output};
use crate::render;
use crate::streams::Patient;

pub(crate) fn run(args: &DecodeArgs) -> ExitCode {
    let keys = match args.session.keys_from_env() {
        Ok(keys) => keys,
        Err(problem) => return output::fail(&problem, crate::USAGE),
    };
    match decode_all(Patient(io::stdin()), &mut Output::stdout(), Shown { raw: args.raw, keys }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Stopped::Reading(error)) => output::fail(&format!("cannot read standard input: {error}"), crate::FAILED),
        Err(Stopped::Writing(error)) => output::finish(Err(error), ExitCode::SUCCESS),
    }
}

/// What is shown of a frame.
#[derive(Clone, Copy)]
struct Shown {
    /// Its own JSON, too.
    raw: bool,
    keys: SessionKeys,
}

/// Which side went wrong first.
enum Stopped {
    Reading(io::Error),
    Writing(io::Error),
}

fn decode_all(mut input: impl Read, output: &mut Output<impl Write>, shown: Shown) -> Result<(), Stopped> {
    let mut lines = Lines::default();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => buffer.get(..n).unwrap_or(&[]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Stopped::Reading(error)),
        };
        let written = lines.feed(read, |_, line| decode(&line, shown, output));
        // Whoever wrote these lines may wait for the answer before writing more.
        written.and_then(|()| output.flush()).map_err(Stopped::Writing)?;
    }
    let written = lines.finish(|_, line| decode(&line, shown, output));
    written.and_then(|()| output.flush()).map_err(Stopped::Writing)
}

/// Writes one line for each frame, and for what is skipped: for a line mostly one.
fn decode(line: &Line<'_>, shown: Shown, output: &mut Output<impl Write>) -> io::Result<()> {
    let skipped = |why: &str| Object::new().text("skipped", why).end();
    let too_long = LineTooLong { limit: lines::LIMIT };
    let Line::Bytes(bytes) = line else { return output.line(&skipped(&too_long.to_string())) };
    let mut written = Ok(());
    let read = ndjson::read_line(bytes, lines::LIMIT, frame::from_connector, |frame| {
        let text = match frame {
            Ok(frame) => render(&frame, shown),
            Err(why) => skipped(&why.to_string()),
        };
        written = output.line(&text);
        written.is_ok()
    });
    written?;
    match read {
        Ok(_) => Ok(()),
        Err(too_long) => output.line(&skipped(&too_long.to_string())),
    }
}

fn render(frame: &FromConnector, Shown { raw, keys }: Shown) -> String {
    let object = |name| Object::new().text("frame", name);
    let with_raw = |object: Object, json: &str| if raw { object.peer_json("raw", json) } else { object };
    match frame {
        FromConnector::Descriptor(descriptor) => {
            let object = object("descriptor").json("descriptor", descriptor.to_json().as_str());
            with_raw(object, descriptor.raw.as_ref().map_or("null", RawJson::as_str))
        }
        FromConnector::Delivery { content: Content::Message(event), buffer_id } => {
            let object = object("inbound")
                .optional("buffer_id", render::buffer_id(buffer_id.as_ref()))
                .text("session_key", &event.session_key(&keys))
                .json("event", &render::message(event));
            with_raw(render::platform_name(object, event), event.raw())
        }
        FromConnector::Delivery { content: Content::Passthrough(forward), buffer_id } => {
            let object = object("passthrough_forward")
                .optional("buffer_id", render::buffer_id(buffer_id.as_ref()))
                .json("forward", &render::forward(forward));
            with_raw(object, forward.raw.as_str())
        }
        FromConnector::Delivery { content: Content::Undecodable(content), buffer_id } => {
            let object = object("undecodable").optional("buffer_id", render::buffer_id(buffer_id.as_ref()));
            render::undecodable(object, content)
        }
        FromConnector::OutboundResult { request_id, result } => object("outbound_result")
            .text("request_id", request_id)
            .text("outcome", render::verdict(result))
            .peer_json("result", result.raw.as_str()),
        FromConnector::Interrupt(interrupt) => object("interrupt_inbound")
            .text("session_key", &interrupt.session_key)
            .optional("chat_id", interrupt.chat_id.as_deref()),
        FromConnector::GoingIdleAck => object("going_idle_ack"),
        _ => object("unknown"),
    }
    .end()
}
