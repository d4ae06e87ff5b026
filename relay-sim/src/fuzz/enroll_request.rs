//! The connector's half of enrolment: whatever is POSTed, the request is the same however the bytes are cut, to the link
//! that accepts as well, and what is read from its body can be sent and read again.

use relay_proto::enroll::server::{
    BadRequest, Enrollment, MAX_REQUEST, Request, RequestReader, read_policy, refusal, response,
};
use relay_proto::enroll::{AnswerReader, Credential, Service};
use relay_proto::token::{Secret, mint};
use relay_proto::wire::{LinkOptions, ServerEvent, ServerLink};

use super::input::{Input, pieces};

type Asked = Result<Option<Request>, BadRequest>;

/// A byte that nothing depends on, up to seven for the cuts behind one for their number, and then what the client sends.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    input.byte();
    let cuts = input.byte() % 8;
    let cuts = input.take(cuts.into());
    let bytes = input.rest();
    let whole = read(bytes, &[]);
    assert_eq!(read(bytes, &[1]), whole, "byte by byte");
    assert_eq!(read(bytes, cuts), whole, "cut by {cuts:?}");
    if bytes.starts_with(b"POST /relay/") {
        assert_eq!(link(bytes, cuts), whole, "by a link");
    }
    match &whole {
        Ok(None) => {}
        Ok(Some(request)) => judge(request),
        Err(bad) => answer(bad),
    }
}

fn read(bytes: &[u8], cuts: &[u8]) -> Asked {
    let mut reader = RequestReader::default();
    let mut told = 0;
    for piece in pieces(bytes, cuts) {
        let asked = reader.read(piece)?;
        if reader.wants_to_continue() {
            assert!(asked.is_none(), "nothing is to come");
            told += 1;
        }
        assert!(!reader.wants_to_continue() && told <= 1, "told twice");
        if let Some(request) = asked {
            assert!(request.body().len() <= MAX_REQUEST);
            assert_eq!(format!("{request:?}"), format!("Request {{ path: {:?}, .. }}", request.path()));
            return Ok(Some(request));
        }
    }
    Ok(None)
}

fn link(bytes: &[u8], cuts: &[u8]) -> Asked {
    let mut options = LinkOptions::default();
    options.plain_post = true;
    let mut link = ServerLink::new(&options, None).unwrap();
    for piece in pieces(bytes, cuts) {
        link.handle_bytes(piece);
        assert!(link.buffered() <= 96 << 10, "{} bytes held", link.buffered());
        match link.poll_event() {
            None => {}
            Some(ServerEvent::Post(asked)) => return asked.map(Some),
            Some(event) => panic!("{event:?}"),
        }
    }
    Ok(None)
}

/// A refusal is an answer that gateways can read.
fn answer(bad: &BadRequest) {
    assert!((400..=499).contains(&bad.status), "{bad:?}");
    let mut reader = AnswerReader::default();
    assert_eq!(reader.read(&response(bad.status, &refusal(bad.detail))), Ok(true));
    let reply = reader.finish().unwrap();
    assert_eq!(reply.status(), bad.status);
    let said: serde_json::Value = serde_json::from_slice(reply.body()).unwrap();
    assert_eq!(said["error"], bad.detail);
}

fn judge(request: &Request) {
    let service = Service::parse("http://127.0.0.1:1").unwrap();
    match Enrollment::read(request.body()) {
        Ok(asked) => {
            let mut other = asked.clone();
            other.token = Credential::new("another");
            assert_eq!(format!("{asked:?}"), format!("{other:?}"), "the token shows");
            // As a gateway asks, with the bearer that there was.
            let identity = request.bearer().cloned().unwrap_or(Credential::new("i"));
            let call = service.enroll(&identity, &asked.token, &asked.gateway_id).unwrap();
            let same = read(&call.request(), &[]).unwrap().unwrap();
            assert_eq!((same.path(), same.bearer()), ("/relay/enroll", Some(&identity)));
            assert_eq!(Enrollment::read(same.body()), Ok(asked));
        }
        Err(bad) => answer(&bad),
    }
    match read_policy(request.body()) {
        Ok(policy) => {
            let token = mint("gw-1", &Secret::new("s"), 0, 0);
            let call = service.policy(&token, &policy).unwrap();
            // What was shorter with raw characters may be too long when they are escaped.
            match read(&call.request(), &[]) {
                Ok(same) => assert_eq!(read_policy(same.unwrap().body()), Ok(policy)),
                Err(bad) => assert_eq!(bad.status, 413),
            }
        }
        Err(bad) => answer(&bad),
    }
}
