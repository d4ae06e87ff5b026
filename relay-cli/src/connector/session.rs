//! The loop between the connector and the two pipes.

use std::future::{Future, pending};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use relay_connector::{Connector, DeliverError, Events, GatewayId, HttpEvent, Refused, StoreError};
use relay_proto::connector::Event;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::accepting::{Accepted, Accepting, Delivery};
use super::answers::{Answers, NotFound};
use super::commands::{Command, Order, Parsed, parse};
use super::fronts::Fronts;
use super::setup::Gateways;
use super::{messages, report};
use crate::input::Input;
use crate::outbox::Outbox;
use crate::output;

/// Commands are taken while fewer deliveries than this are on their way into the store, ...
const DELIVERIES: usize = 1024;
/// ... with fewer bytes in their lines, ...
const DELIVERY_BYTES: usize = 8 << 20;
/// ... and fewer bytes of answers wait to be written.
const ANSWER_BYTES: usize = 1 << 20;

/// How long the last events may stay unread once a signal came and every link is over.
const PATIENCE: Duration = Duration::from_secs(5);

/// A request id alone does not say which outbound is meant.
const AMBIGUOUS: &str = "two links asked under this request_id: give the `link` of the outbound with the result";

pub(super) struct Session {
    connector: Connector,
    events: Events,
    http: mpsc::Receiver<(GatewayId, HttpEvent)>,
    gateways: Gateways,
    /// Whether deliveries survive the process.
    durable: bool,
    answers: Answers,
    fronts: Fronts,
    commands: mpsc::Receiver<Input>,
    outbox: Outbox<()>,
    signal: Arc<Notify>,
    accepting: Accepting,
    /// Whether commands are still read.
    listening: bool,
    /// Whether a command ever came.
    commanded: bool,
    /// Set once closing has begun.
    closing: Option<JoinHandle<()>>,
    /// Bounds the wait for a reader that does not read, once a signal came.
    impatience: Option<Pin<Box<dyn Future<Output = ()>>>>,
    /// That wait is over.
    given_up: bool,
    /// Standard output is gone.
    unheard: bool,
}

/// What happened next.
#[allow(clippy::large_enum_variant)] // There is one at a time, and it does not stay.
enum Step {
    Accepted((Delivery, Accepted)),
    Event(Option<(GatewayId, Event)>),
    Http((GatewayId, HttpEvent)),
    Input(Option<Input>),
    Written,
    Signal,
    Unread,
}

/// Why a command did nothing.
enum Failure {
    /// It makes no sense.
    Nonsense(String),
    /// The connector refused.
    Refused(Refused),
    /// It is carried out, and forgotten when the process ends.
    NotStored(StoreError),
}

impl From<String> for Failure {
    fn from(problem: String) -> Self {
        Self::Nonsense(problem)
    }
}

impl From<Refused> for Failure {
    fn from(why: Refused) -> Self {
        Self::Refused(why)
    }
}

impl Session {
    #[allow(clippy::too_many_arguments)] // Once, from one place.
    pub(super) fn new(
        connector: Connector,
        (events, http): (Events, mpsc::Receiver<(GatewayId, HttpEvent)>),
        gateways: Gateways,
        durable: bool,
        answers: Answers,
        commands: mpsc::Receiver<Input>,
        outbox: Outbox<()>,
        signal: Arc<Notify>,
    ) -> Self {
        Self {
            connector,
            events,
            http,
            gateways,
            durable,
            answers,
            fronts: Fronts::default(),
            commands,
            outbox,
            signal,
            accepting: Accepting::default(),
            listening: true,
            commanded: false,
            closing: None,
            impatience: None,
            given_up: false,
            unheard: false,
        }
    }

    pub(super) async fn run(mut self) -> ExitCode {
        loop {
            match self.step().await {
                Step::Accepted((delivery, accepted)) => self.accepted(&delivery, accepted),
                Step::Event(Some((gateway, event))) => self.report(gateway.as_str(), event),
                Step::Event(None) => break,
                Step::Http((gateway, event)) => self.report_http(gateway.as_str(), event),
                Step::Input(Some(input)) => self.carry_out(input),
                Step::Input(None) => {
                    self.listening = false;
                    // A connector that is run as a daemon has no input, and its end means nothing.
                    if self.commanded {
                        self.close();
                    }
                }
                Step::Written => {
                    if self.outbox.has_failed() && !self.unheard {
                        self.unheard = true;
                        self.stop();
                    }
                }
                Step::Signal => {
                    self.stop();
                    self.be_impatient();
                }
                Step::Unread => {
                    self.given_up = true;
                    break;
                }
            }
        }
        self.end().await
    }

    async fn step(&mut self) -> Step {
        let event_room = self.outbox.has_event_room();
        let command_room = self.accepting.len() < DELIVERIES
            && self.accepting.bytes() < DELIVERY_BYTES
            && self.outbox.answer_bytes() < ANSWER_BYTES;
        tokio::select! {
            ended = self.accepting.next() => Step::Accepted(ended),
            Some(event) = self.http.recv(), if event_room => Step::Http(event),
            event = self.events.next(), if event_room => Step::Event(event),
            input = self.commands.recv(), if self.listening && command_room => Step::Input(input),
            () = self.outbox.changed() => Step::Written,
            () = self.signal.notified() => Step::Signal,
            () = over(&mut self.impatience) => Step::Unread,
        }
    }

    // ── events ───────────────────────────────────────────────────────────

    /// Tells the program of an event.
    fn report(&mut self, gateway: &str, event: Event) {
        // A gateway that links enrolled before, and is said to have.
        while let Ok((gateway, event)) = self.http.try_recv() {
            self.report_http(gateway.as_str(), event);
        }
        // What is acknowledged was accepted before, and is said to be.
        while let Some((delivery, accepted)) = self.accepting.ended() {
            self.accepted(&delivery, accepted);
        }
        let line = match event {
            Event::Hello(identity) => {
                self.fronts.add(gateway, &identity.platform);
                report::hello(gateway, &identity)
            }
            Event::Outbound(outbound) => {
                let line = report::outbound(gateway, &outbound);
                match &mut self.answers {
                    Answers::Auto(made_up) => {
                        if let Some(result) = made_up.answer(gateway, &outbound, &self.fronts) {
                            // If its link is gone there is nobody to tell.
                            let _ = self.connector.gateway(gateway).answer(outbound.id, &result);
                        }
                    }
                    Answers::Manual(waiting) => waiting.add(gateway, &outbound),
                }
                line
            }
            Event::Interrupt { session_key, reason } => report::interrupt(gateway, &session_key, reason.as_deref()),
            Event::Acked(entry) => report::ack(gateway, entry),
            Event::AssumedAcked(entry) => report::assumed_acked(gateway, entry),
            Event::GivenUp(entry) => report::given_up(gateway, entry),
            Event::Idle => report::idle(gateway),
            Event::LinkEnded { link, ended } => {
                if let Answers::Manual(waiting) = &mut self.answers {
                    waiting.forget(gateway, link);
                }
                report::link_closed(gateway, &ended)
            }
            // An event that this version does not know is none of the program's.
            _ => return,
        };
        self.outbox.event(line, None);
    }

    fn report_http(&mut self, gateway: &str, event: HttpEvent) {
        let line = match event {
            HttpEvent::Enrolled => {
                self.gateways.add(gateway);
                report::enrolled(gateway)
            }
            HttpEvent::Policy(policy) => report::policy(gateway, &policy),
            // As above.
            _ => return,
        };
        self.outbox.event(line, None);
    }

    // ── commands ─────────────────────────────────────────────────────────

    fn carry_out(&mut self, input: Input) {
        self.commanded = true;
        let Input { number, line } = input;
        let line = match line {
            Ok(line) => line,
            Err(limit) => {
                let problem = format!("the line is over the limit of {limit} bytes (see --max-frame)");
                return self.outbox.answer(report::error(number, None, &problem));
            }
        };
        let Parsed { id, command } = parse(&line);
        let done = match command {
            Ok(command) => self.obey(command, id.clone(), number, line.len()),
            Err(problem) => Err(problem.into()),
        };
        let id = id.as_deref();
        match (done, id) {
            (Ok(Done::Now), Some(id)) => self.outbox.answer(report::done(id)),
            (Ok(_), _) => {}
            (Err(Failure::Nonsense(problem)), id) => self.outbox.answer(report::error(number, id, &problem)),
            (Err(Failure::Refused(why)), id) => self.outbox.answer(report::refused(number, id, &why)),
            (Err(Failure::NotStored(why)), id) => {
                let problem = format!("revoked until this process ends, and not for good: {why}");
                self.outbox.answer(report::not_stored(number, id, &problem));
            }
        }
    }

    /// Carries out a command. An error is one of the program's.
    fn obey(&mut self, command: Command, id: Option<String>, line: u64, bytes: usize) -> Result<Done, Failure> {
        let name = self.gateways.find(command.gateway.as_deref())?;
        let gateway = self.connector.gateway(&name);
        let delivery = || Delivery { gateway: name.clone(), id, line, bytes };
        let accepted = match command.order {
            Order::Deliver(event) => {
                messages::check(&event, self.fronts.all_of(&name))?;
                self.accepting.begin(delivery(), async move { gateway.deliver(&event).await })
            }
            Order::Forward(forward) => self.accepting.begin(delivery(), async move { gateway.forward(&forward).await }),
            Order::Interrupt { session_key, chat_id } => {
                gateway.interrupt(&session_key, &chat_id)?;
                return Ok(Done::Now);
            }
            Order::Result { request_id, link, result } => {
                let Answers::Manual(waiting) = &mut self.answers else {
                    let problem = "outbounds are answered automatically: start with --answer manual to do it by hand";
                    return Err(problem.to_owned().into());
                };
                let outbound = waiting.take(&name, &request_id, link).map_err(|why| match why {
                    NotFound::NotWaiting => Failure::Refused(Refused::NotWaiting),
                    NotFound::Ambiguous => Failure::Nonsense(AMBIGUOUS.into()),
                })?;
                gateway.answer(outbound, &result)?;
                return Ok(Done::Now);
            }
            Order::Drop => {
                return if gateway.drop_link() { Ok(Done::Now) } else { Err(Refused::NoLink.into()) };
            }
            Order::Revoke => {
                gateway.revoke();
                // The disk is waited for here, as it is seldom asked: what is done stays done.
                gateway.take_back().map_err(Failure::NotStored)?;
                return Ok(Done::Now);
            }
        };
        if let Some((delivery, accepted)) = accepted {
            self.accepted(&delivery, accepted);
        }
        Ok(Done::Later)
    }

    fn accepted(&self, delivery: &Delivery, accepted: Accepted) {
        let id = delivery.id.as_deref();
        self.outbox.answer(match accepted {
            Ok(entry) => report::accepted(&delivery.gateway, entry, id),
            Err(DeliverError::Refused(why)) => report::refused(delivery.line, id, &why),
            Err(why) => report::not_stored(delivery.line, id, &why.to_string()),
        });
    }

    // ── the end ──────────────────────────────────────────────────────────

    /// Carries out what was read, and closes.
    fn stop(&mut self) {
        self.listening = false;
        self.commands.close();
        while let Ok(input) = self.commands.try_recv() {
            self.carry_out(input);
        }
        self.close();
    }

    /// Closes in order. The events end when it is done.
    fn close(&mut self) {
        if self.closing.is_none() {
            let connector = self.connector.clone();
            self.closing = Some(tokio::spawn(async move { connector.shutdown().await }));
        }
    }

    /// From when the connector has closed, its last events have a while to be read. Without a bound, a connector whose
    /// reader is stuck could not be ended in order: its pipe stays full, and its last event never comes to its turn.
    fn be_impatient(&mut self) {
        if self.impatience.is_none() {
            let connector = self.connector.clone();
            self.impatience = Some(Box::pin(async move {
                connector.shutdown().await;
                let _ = timeout(PATIENCE, pending::<()>()).await;
            }));
        }
    }

    /// Every link is over. Whatever was asked is answered, and the last line is written.
    async fn end(mut self) -> ExitCode {
        while self.accepting.len() > 0 {
            let (delivery, accepted) = self.accepting.next().await;
            self.accepted(&delivery, accepted);
        }
        if let Some(closing) = self.closing.take() {
            // The store is closed then.
            let _ = closing.await;
        }
        if !self.durable {
            let lost: u64 = self.gateways.names().map(|name| self.connector.gateway(name).buffered()).sum();
            if lost > 0 {
                output::note(&format!(
                    "{lost} deliveries were not acknowledged, and end with this process (see --store)"
                ));
            }
        }
        self.outbox.event(report::closed(), None);
        if !self.given_up {
            if self.impatience.is_none() {
                let signal = self.signal.clone();
                self.impatience = Some(Box::pin(async move {
                    signal.notified().await;
                    let _ = timeout(PATIENCE, pending::<()>()).await;
                }));
            }
            tokio::select! {
                biased;
                () = self.outbox.finish() => {}
                () = over(&mut self.impatience) => self.given_up = true,
            }
        }
        if self.given_up {
            output::note("nobody reads the last events: ending without them");
        }
        ExitCode::from(if self.given_up || self.outbox.has_failed() { crate::FAILED } else { 0 })
    }
}

/// When a command is answered.
enum Done {
    Now,
    Later,
}

async fn over(timer: &mut Option<Pin<Box<dyn Future<Output = ()>>>>) {
    match timer {
        Some(timer) => timer.await,
        None => pending().await,
    }
}
