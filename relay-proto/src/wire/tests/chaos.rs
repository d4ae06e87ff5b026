use super::*;
use proptest::prelude::*;

/// What a host may do, in any order.
#[derive(Clone, Debug)]
enum Step {
    Receive(Vec<u8>),
    Eof,
    Failed,
    TransmitFailed,
    Consume(usize),
    Send(String),
    Ping,
    Close(u16, String),
    Shrink,
    Accept,
    Refuse(u16, String),
    Poll,
}

fn bytes(masked: bool) -> impl Strategy<Value = Vec<u8>> {
    let mask =
        move |bytes: Vec<u8>, first: u8| if masked { from_client(first, &bytes) } else { from_server(first, &bytes) };
    prop_oneof![
        2 => prop::collection::vec(any::<u8>(), 0..300),
        4 => (prop::collection::vec(any::<u8>(), 0..130), prop::sample::select(vec![TEXT, BINARY, 0x01, 0x02, 0x80, CLOSE, PING, PONG]))
            .prop_map(move |(payload, first)| mask(payload, first)),
        3 => "[a-z]{0,20}".prop_map(move |text| mask(text.into_bytes(), TEXT)),
        1 => Just(b"HTTP/1.1 101 x\r\n\r\n".to_vec()),
        1 => Just(REQUEST.as_bytes().to_vec()),
    ]
}

fn step(masked: bool) -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => bytes(masked).prop_map(Step::Receive),
        1 => Just(Step::Eof),
        1 => Just(Step::Failed),
        1 => Just(Step::TransmitFailed),
        4 => any::<usize>().prop_map(|n| Step::Consume(if n % 3 == 0 { n } else { n % 40 })),
        3 => ".{0,50}".prop_map(Step::Send),
        2 => Just(Step::Ping),
        1 => (any::<u16>(), ".{0,80}").prop_map(|(code, reason)| Step::Close(code, reason)),
        1 => Just(Step::Shrink),
        3 => Just(Step::Accept),
        1 => (any::<u16>(), ".{0,20}").prop_map(|(status, reason)| Step::Refuse(status, reason)),
        3 => Just(Step::Poll),
    ]
}

/// The order of events: opened (0) once and first, then messages (1), ended (2) once and last.
fn check(order: &[u8]) {
    assert!(order.windows(2).all(|pair| pair[0] < pair[1] || pair == [1, 1]), "{order:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_client_survives_anything(opened in any::<bool>(), steps in prop::collection::vec(step(false), 0..40)) {
        let mut link = if opened { open_client() } else { client() };
        let mut order = if opened { vec![0] } else { vec![] };
        let mut drain = |link: &mut ClientLink| order.extend(events(link).iter().map(|event| match event {
            LinkEvent::Opened => 0,
            LinkEvent::Message(_) => 1,
            LinkEvent::Ended(_) => 2,
        }));
        for step in steps {
            match step {
                Step::Receive(bytes) => link.handle_bytes(&bytes),
                Step::Eof => link.handle_eof(),
                Step::Failed => link.handle_read_error("x"),
                Step::TransmitFailed => link.handle_write_error(),
                Step::Consume(n) => link.consume(n),
                Step::Send(text) => link.send_text(text),
                Step::Ping => link.ping(),
                Step::Close(code, reason) => link.close(code, &reason),
                Step::Shrink => link.shrink(),
                Step::Accept | Step::Refuse(..) => {}
                Step::Poll => drain(&mut link),
            }
        }
        link.handle_eof();
        link.consume(usize::MAX);
        drain(&mut link);
        check(&order);
        prop_assert_eq!(order.last(), Some(&2));
        prop_assert!(link.is_finished() && !link.is_open());
    }

    #[test]
    fn a_server_survives_anything(opened in any::<bool>(), steps in prop::collection::vec(step(true), 0..40)) {
        let mut link = if opened { open_server() } else { server() };
        let mut order = if opened { vec![0] } else { vec![] };
        let mut drain = |link: &mut ServerLink| order.extend(server_events(link).iter().map(|event| match event {
            ServerEvent::Request(_) | ServerEvent::Get(_) | ServerEvent::Post(_) => 0,
            ServerEvent::Message(_) | ServerEvent::Pong(_) => 1,
            ServerEvent::Ended(_) => 2,
        }));
        for step in steps {
            match step {
                Step::Receive(bytes) => link.handle_bytes(&bytes),
                Step::Eof => link.handle_eof(),
                Step::Failed => link.handle_read_error("x"),
                Step::TransmitFailed => link.handle_write_error(),
                Step::Consume(n) => link.consume(n),
                Step::Send(text) => link.send_text(text),
                Step::Ping => link.ping(),
                Step::Close(code, reason) => link.close(code, &reason),
                Step::Shrink => link.shrink(),
                Step::Accept => link.accept(),
                Step::Refuse(status, reason) => link.refuse(status, &reason),
                Step::Poll => drain(&mut link),
            }
        }
        link.handle_eof();
        link.consume(usize::MAX);
        drain(&mut link);
        check(&order);
        prop_assert_eq!(order.last(), Some(&2));
        prop_assert!(link.is_finished() && !link.is_open());
    }
}
