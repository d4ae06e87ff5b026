//! The gateway's half of enrolment: whatever is answered, the outcome is the same however the bytes are cut, goes nowhere
//! else, and shows no credential.

use relay_proto::enroll::{
    AnswerReader, Call, Credential, EnrollError, Granted, MAX_ANSWER, Policy, Provision, Reply, Service, Step,
};
use relay_proto::token::{Secret, mint};

use super::input::{Input, pieces};

const ID: &str = "gw-1";
/// As short as what is hidden everywhere, so that they are found, and unlike anything that is said.
const IDENTITY: &str = "i7Qi7Qi7";
const TOKEN: &str = "t 9t 9 t";

/// A byte for the call, up to seven for the cuts behind one for their number, and then what the connector answers.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    let cuts = input.byte() % 8;
    let cuts = input.take(cuts.into());
    let bytes = input.rest();
    let whole = read(bytes, &[]);
    assert_eq!(read(bytes, &[1]), whole, "byte by byte");
    assert_eq!(read(bytes, cuts), whole, "cut by {cuts:?}");

    let service = Service::parse("https://connector.example/x").unwrap();
    let (identity, token) = (Credential::new(IDENTITY), Credential::new(TOKEN));
    match kind % 3 {
        0 => again(&whole, service.enroll(&identity, &token, ID).unwrap(), granted),
        1 => again(&whole, service.provision(&identity, &Provision::new(ID, "p", "b")).unwrap(), granted),
        _ => {
            let token = mint(ID, &Secret::new("s"), 0, 0);
            again(&whole, service.policy(&token, &Policy::new("p")).unwrap(), |()| {});
        }
    }
}

fn read(bytes: &[u8], cuts: &[u8]) -> Result<Reply, EnrollError> {
    let mut reader = AnswerReader::default();
    let mut complete = false;
    for piece in pieces(bytes, cuts) {
        assert!(!complete || reader.read(piece)?, "an answer that was complete is not any more");
        complete = reader.read(piece)?;
    }
    let reply = reader.finish()?.clone();
    assert!(reply.body().len() <= MAX_ANSWER, "{} bytes", reply.body().len());
    assert_eq!(format!("{reply:?}"), format!("Reply {{ status: {}, .. }}", reply.status()));
    Ok(reply)
}

/// Lets the connector answer the same again and again.
fn again<T: relay_proto::enroll::Answer + std::fmt::Debug>(
    answer: &Result<Reply, EnrollError>,
    mut call: Call<T>,
    done: impl Fn(T),
) {
    let Ok(reply) = answer else { return };
    for followed in 0.. {
        let same = call.url().starts_with("https://connector.example/");
        assert!(
            same && (call.host(), call.port(), call.is_tls()) == ("connector.example", 443, true),
            "{}",
            call.url()
        );
        let (head, body) = split(&call.request());
        match call.read(reply) {
            Ok(Step::Done(granted)) => {
                assert!((200..=299).contains(&reply.status()));
                return done(granted);
            }
            Ok(Step::Again(next)) => {
                assert!(matches!(reply.status(), 307 | 308) && followed < 3, "{} {followed}", reply.status());
                let (next_head, next_body) = split(&next.request());
                assert_eq!((&next_head[1..], next_body), (&head[1..], body), "more than the path has changed");
                call = next;
            }
            Err(error) => {
                let shown = format!("{error} {error:?}");
                let bearer = head.iter().find_map(|line| line.strip_prefix("Authorization: Bearer ")).unwrap();
                let sent = [bearer, TOKEN].into_iter().filter(|secret| *secret == bearer || body.contains(secret));
                assert!(sent.into_iter().all(|secret| !shown.contains(secret)), "{shown}");
                assert!(!shown.contains(char::is_control) && shown.len() < 2500, "{shown:?}");
                let failed = matches!(reply.status(), 200..=299 | 500..=502 | 504..=599);
                assert!(!error.may_have_granted() || failed, "{error:?}");
                return;
            }
        }
    }
}

/// The lines of the head, and the body.
fn split(request: &[u8]) -> (Vec<String>, String) {
    let text = std::str::from_utf8(request).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split("\r\n").map(str::to_owned).collect(), body.to_owned())
}

/// What was granted reads the same when it is granted once more.
fn granted(granted: Granted) {
    assert_eq!(granted.gateway_id, ID);
    let secret = granted.secret.expose();
    assert!(!secret.is_empty() && secret.trim() == secret && !secret.contains(char::is_control), "{secret:?}");
    let body = granted.to_json();
    let answer = format!("HTTP/1.1 200 x\r\nContent-Length: {}\r\n\r\n{}", body.len(), body.as_str());
    let reply = read(answer.as_bytes(), &[]).unwrap();
    let call = Service::parse("wss://c").unwrap().enroll(&IDENTITY.into(), &TOKEN.into(), ID).unwrap();
    match call.read(&reply) {
        Ok(Step::Done(same)) => assert_eq!(same, granted),
        other => panic!("{other:?}"),
    }
}
