//! The loop between the gateway and the two pipes.

use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::process::{ExitCode, ExitStatus};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use relay_proto::chat::SessionKeys;
use relay_tokio::{Delivery, Event, Events, Gateway, RequestOptions};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::answered::{HeldUp, Unanswered};
use super::commands::{Command, Parsed, parse};
use super::exec::{self, Child, DEAF, PATIENCE};
use super::held::{self, Table, Unseen};
use super::report;
use crate::args::AckMode;
use crate::input::Input;
use crate::members::excerpt;
use crate::outbox::Outbox;

/// Commands are taken while fewer requests than this are under way, ...
const REQUESTS: usize = 1024;
/// ... with fewer bytes in their lines, ...
const REQUEST_BYTES: usize = 8 << 20;
/// ... and fewer bytes of answers wait to be written.
const ANSWER_BYTES: usize = 1 << 20;

const UNREAD: &str = "nobody reads the last events: ending without them";

/// How long a program that has exited may leave its output open in other hands.
const ORPHANED: Duration = Duration::from_secs(2);

pub(super) struct Options {
    pub(super) ack: AckMode,
    pub(super) raw: bool,
    pub(super) session_keys: SessionKeys,
    pub(super) wait_for_link: bool,
    /// The platforms that requests may name.
    pub(super) fronted: Vec<String>,
    /// The link is without TLS.
    pub(super) plaintext: bool,
}

pub(super) struct Session {
    options: Options,
    gateway: Gateway,
    events: Events,
    commands: mpsc::Receiver<Input>,
    outbox: Outbox<Unseen>,
    child: Option<Child>,
    signal: Arc<Notify>,
    /// Requests under way: each ends as the answer to it, and the bytes of the line that asked.
    requests: JoinSet<(Answer, usize)>,
    request_bytes: usize,
    held: Table,
    /// Those of them that wait for an answer (`--ack answered`).
    unanswered: Unanswered,
    /// The number of the last delivery.
    delivery: u64,
    closing: Closing,
    /// A signal or a command asked for the end.
    asked: bool,
    /// The gateway had ended before anybody asked for it.
    lost: bool,
    /// Whether commands are still read.
    listening: bool,
    /// Whether the program has exited.
    exited: bool,
    /// Bounds the wait for the rest of an exited program's output.
    orphaned: Option<Pin<Box<dyn Future<Output = ()>>>>,
    /// The program reads no more. Runs out when it has not exited in a while.
    deaf: Option<Pin<Box<dyn Future<Output = ()>>>>,
    /// That was said.
    told_deaf: bool,
    /// Bounds the wait for a reader that does not read, once it was told to end and the gateway has closed.
    impatience: Option<Pin<Box<dyn Future<Output = ()>>>>,
    /// That wait is over.
    given_up: bool,
    /// Nobody can read what is written any more.
    unheard: bool,
    /// The gateway's last event, to be told last.
    ending: Option<Ending>,
}

/// How far closing in order has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    /// Nobody asked for it.
    No,
    /// The input has ended. Requests that wait for a link, or that answer a delivery, end first.
    WhenAnswered,
    /// The gateway does it.
    Begun,
}

/// What happened next.
#[allow(clippy::large_enum_variant)] // There is one at a time, and it does not stay.
enum Step {
    Event(Option<Event>),
    Input(Option<Input>),
    Answered((Answer, usize)),
    Written,
    Signal,
    Exited(io::Result<ExitStatus>),
    Orphaned,
    Deaf,
    Unread,
}

/// The end of a request.
struct Answer {
    /// The line that tells of it.
    line: String,
    /// The deliveries that it answered, ...
    deliveries: Vec<u64>,
    /// ... and whether they are answered now: a request without a link comes to nothing.
    taken: bool,
}

impl From<String> for Answer {
    fn from(line: String) -> Self {
        Self { line, deliveries: Vec::new(), taken: false }
    }
}

/// How it all ended.
enum Ending {
    /// The line that says so.
    Revoked(String),
    Closed,
}

impl Session {
    pub(super) fn new(
        options: Options,
        gateway: Gateway,
        events: Events,
        commands: mpsc::Receiver<Input>,
        outbox: Outbox<Unseen>,
        child: Option<Child>,
        signal: Arc<Notify>,
    ) -> Self {
        Self {
            options,
            gateway,
            events,
            commands,
            outbox,
            child,
            signal,
            requests: JoinSet::new(),
            request_bytes: 0,
            held: Table::default(),
            unanswered: Unanswered::default(),
            delivery: 0,
            closing: Closing::No,
            asked: false,
            lost: false,
            listening: true,
            exited: false,
            orphaned: None,
            deaf: None,
            told_deaf: false,
            impatience: None,
            given_up: false,
            unheard: false,
            ending: None,
        }
    }

    pub(super) async fn run(mut self) -> ExitCode {
        while self.ending.is_none() {
            // Requests may get a link yet; and what they answer is acknowledged when they end, while there is a link.
            let patient = self.options.wait_for_link || self.options.ack == AckMode::Answered;
            if self.closing == Closing::WhenAnswered && (!patient || self.requests.is_empty()) {
                self.close();
            }
            match self.step().await {
                Step::Event(event) => self.report(event),
                Step::Input(Some(input)) => self.carry_out(input),
                Step::Input(None) => {
                    self.listening = false;
                    self.orphaned = None;
                    if self.closing == Closing::No {
                        self.begin(Closing::WhenAnswered);
                    }
                }
                Step::Answered((answer, bytes)) => self.answered(answer, bytes),
                Step::Written => {
                    if self.outbox.has_failed() && !self.unheard {
                        self.unheard = true;
                        // A program that does not listen may still have something to say.
                        match self.child {
                            Some(_) if !self.exited => self.deaf = Some(after(DEAF)),
                            Some(_) => {}
                            None => self.stop(),
                        }
                    }
                }
                Step::Signal => {
                    self.asked = true;
                    self.stop();
                    self.be_impatient();
                }
                Step::Exited(status) => {
                    self.exited = true;
                    exec::tell_of_exit(&status, self.asked);
                    self.deaf = None;
                    if self.listening {
                        self.orphaned = Some(after(ORPHANED));
                    }
                }
                Step::Orphaned => self.stop(),
                Step::Deaf => {
                    self.deaf = None;
                    self.told_deaf = true;
                    exec::warn_of_deafness();
                }
                Step::Unread => self.give_up(),
            }
        }
        self.end().await
    }

    async fn step(&mut self) -> Step {
        let event_room = self.has_event_room();
        let command_room = self.requests.len() < REQUESTS
            && self.request_bytes < REQUEST_BYTES
            && self.outbox.answer_bytes() < ANSWER_BYTES;
        let running = !self.exited;
        tokio::select! {
            event = self.events.next(), if event_room => Step::Event(event),
            input = self.commands.recv(), if self.listening && command_room => Step::Input(input),
            Some(Ok(answer)) = self.requests.join_next() => Step::Answered(answer),
            () = self.outbox.changed() => Step::Written,
            () = self.signal.notified() => Step::Signal,
            status = exited(&mut self.child), if running => Step::Exited(status),
            () = over(&mut self.orphaned) => Step::Orphaned,
            () = over(&mut self.deaf) => Step::Deaf,
            () = over(&mut self.impatience) => Step::Unread,
        }
    }

    // ── events ───────────────────────────────────────────────────────────

    fn has_event_room(&self) -> bool {
        self.outbox.has_event_room() && !self.held.is_full()
    }

    /// Tells the program of the events that are there already, as far as there is room: what happened before an answer is
    /// told before it.
    fn report_waiting(&mut self) {
        while self.ending.is_none() && self.has_event_room() {
            match self.events.poll_next(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(event) => self.report(event),
                Poll::Pending => break,
            }
        }
    }

    /// Tells the program of an event. The last one is told at the very end.
    fn report(&mut self, event: Option<Event>) {
        match event {
            Some(Event::Ready { descriptor }) => self.outbox.event(report::ready(&descriptor), None),
            Some(Event::Delivery(delivery)) => {
                self.delivery += 1;
                let line = report::delivery(self.delivery, &delivery, self.options.raw, &self.options.session_keys);
                self.deliver(self.delivery, line, delivery);
            }
            Some(Event::Interrupt(interrupt)) => self.outbox.event(report::interrupt(&interrupt), None),
            Some(Event::Disconnected { ended, retry_in }) => {
                self.outbox.event(report::disconnected(&ended, retry_in, self.options.plaintext), None);
            }
            Some(Event::Idle) => self.outbox.event(report::idle(), None),
            Some(Event::Revoked { ended }) => self.ending = Some(Ending::Revoked(report::revoked(&ended))),
            Some(Event::Closed) | None => self.ending = Some(Ending::Closed),
            // An event that this version does not know is none of the program's.
            Some(_) => {}
        }
    }

    fn deliver(&mut self, number: u64, line: String, delivery: Delivery) {
        match self.options.ack {
            AckMode::Auto => self.outbox.event(line, Some(Unseen::new(delivery))),
            AckMode::Answered => {
                let question = held::question(&delivery, &self.options.session_keys);
                let is_asked = question.is_some();
                if let Some(held_up) =
                    self.unanswered.arrived(number, delivery.key(), delivery.buffer_id().is_some(), question)
                {
                    self.warn_of_silence(held_up);
                }
                if is_asked {
                    self.held.insert(number, delivery);
                    self.outbox.event(line, None);
                } else {
                    self.outbox.event(line, Some(Unseen::new(delivery)));
                }
            }
            AckMode::Manual => {
                self.held.insert(number, delivery);
                self.outbox.event(line, None);
            }
        }
    }

    /// Says that deliveries stop sooner or later.
    fn warn_of_silence(&self, held_up: HeldUp) {
        let HeldUp { oldest, waiting } = held_up;
        crate::output::note(&format!(
            "warning: {} messages are neither answered nor acknowledged; the oldest, delivery {oldest}, holds up the \
             acknowledgements of {waiting}: most connectors deliver no more then; answer in their chats, send \
             {{\"do\":\"ack\",\"delivery\":N}} for those that need no answer, or start with --ack auto",
            self.unanswered.len()
        ));
    }

    // ── commands ─────────────────────────────────────────────────────────

    fn answer(&mut self, line: String) {
        self.report_waiting();
        self.outbox.answer(line);
    }

    fn carry_out(&mut self, input: Input) {
        let Input { number, line } = input;
        let line = match line {
            Ok(line) => line,
            Err(limit) => {
                let problem = format!("the line is over the limit of {limit} bytes (see --max-frame)");
                return self.answer(report::error(number, None, &problem));
            }
        };
        let Parsed { id, command } = parse(&line);
        if let Err(problem) = command.and_then(|command| self.obey(command, id.clone(), line.len())) {
            self.answer(report::error(number, id.as_deref(), &problem));
        }
    }

    /// Carries out a command. An error is one of the program's.
    fn obey(&mut self, command: Command, id: Option<String>, bytes: usize) -> Result<(), String> {
        match command {
            Command::Request { mut action, platform, bot_id, aim, chat_info_of, unnamed_prompt } => {
                let fronted = &self.options.fronted;
                if let Some(asked) = platform.as_ref().filter(|asked| !fronted.contains(asked)) {
                    return Err(format!(
                        "this gateway does not front the platform {}; it fronts {}",
                        excerpt(asked),
                        fronted.join(", ")
                    ));
                }
                let mut asked = report::Asked { chat_info_of, prompt_id: None };
                if unnamed_prompt {
                    let prompt_id = self.gateway.new_prompt_id();
                    action = action.field("prompt_id", &prompt_id);
                    asked.prompt_id = Some(prompt_id);
                }
                let mut options = RequestOptions::default();
                options.platform = platform;
                options.bot_id = bot_id;
                options.wait_for_link = self.options.wait_for_link;
                let key = id.as_deref().and_then(|id| serde_json::from_str::<String>(id).ok());
                let deliveries = self.unanswered.claim(&aim, key.as_deref());
                let gateway = self.gateway.clone();
                // It is sent when this is polled first, which is now: requests leave in the order of the commands.
                self.await_answer(bytes, async move {
                    let outcome = report::unsorted(gateway.perform(action, options).await);
                    let line = report::outcome(id.as_deref(), &outcome, &asked);
                    Answer { line, deliveries, taken: !report::found_no_link(&outcome) }
                });
            }
            Command::Ack(number) => self.take(number)?.ack(),
            Command::Nack(number) => self.take(number)?.nack(),
            Command::Interrupt { session_key, reason } => {
                if let Err(why) = self.gateway.interrupt(&session_key, reason.as_deref()) {
                    self.answer(report::not_sent(id.as_deref(), &why));
                }
            }
            Command::GoIdle => {
                let outcome = self.gateway.go_idle();
                self.await_answer(bytes, async move { report::idle_outcome(id.as_deref(), outcome.await).into() });
            }
            Command::GoDormant => {
                let outcome = self.gateway.go_dormant();
                self.await_answer(bytes, async move { report::idle_outcome(id.as_deref(), outcome.await).into() });
            }
            Command::Wake => self.gateway.wake(),
            Command::Reconnect => self.gateway.reconnect(),
            Command::HoldRedial => self.gateway.hold_redial(),
            Command::ReleaseRedial => self.gateway.release_redial(),
            Command::Close => {
                self.asked = true;
                self.close();
            }
        }
        Ok(())
    }

    fn take(&mut self, number: u64) -> Result<Delivery, String> {
        if self.options.ack == AckMode::Auto {
            return Err("deliveries are acknowledged automatically: start with --ack manual to do it by hand".into());
        }
        self.unanswered.remove(number);
        self.held.remove(number).ok_or_else(|| {
            if number == 0 || number > self.delivery {
                format!("there was no delivery {number}")
            } else {
                format!("delivery {number} has ended already")
            }
        })
    }

    /// Answers when the answer is there: at once, if it is there at once.
    fn await_answer(&mut self, bytes: usize, answer: impl Future<Output = Answer> + Send + 'static) {
        let mut answer = Box::pin(answer);
        match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => self.settle(answer),
            Poll::Pending => {
                self.request_bytes += bytes;
                self.requests.spawn(async move { (answer.await, bytes) });
            }
        }
    }

    fn answered(&mut self, answer: Answer, bytes: usize) {
        self.request_bytes -= bytes;
        self.settle(answer);
    }

    /// Ends what a request has answered, and tells of its end.
    fn settle(&mut self, answer: Answer) {
        let Answer { line, deliveries, taken } = answer;
        for number in deliveries {
            match self.held.remove(number) {
                Some(delivery) if taken => delivery.ack(),
                Some(delivery) => delivery.nack(),
                // The program has ended it by hand.
                None => {}
            }
        }
        self.answer(line);
    }

    // ── the end ──────────────────────────────────────────────────────────

    /// Takes a step of closing. Whether the gateway had ended by then is asked of the gateway: its last event may still
    /// wait to be read.
    fn begin(&mut self, step: Closing) {
        self.lost |= self.closing == Closing::No && self.gateway.state().is_terminal();
        self.closing = step;
    }

    /// Closes the gateway in order; its last event says when it is done.
    fn close(&mut self) {
        if self.closing != Closing::Begun {
            self.begin(Closing::Begun);
            // It goes on by itself.
            drop(self.gateway.close());
            // A program that is told to end ends. Whoever reads standard output may take its time.
            if self.child.is_some() {
                self.be_impatient();
            }
        }
    }

    /// From when the gateway has closed, its last events have a while to be read. Without a bound, a program that is
    /// stuck could not be ended: its pipe stays full, and the event that says that all is over never comes to its turn.
    fn be_impatient(&mut self) {
        if self.impatience.is_none() {
            let closed = self.gateway.ended();
            self.impatience = Some(Box::pin(async move {
                closed.await;
                let _ = timeout(PATIENCE, pending::<()>()).await;
            }));
        }
    }

    /// Passes over what nobody reads. Deliveries among it are given back.
    fn give_up(&mut self) {
        self.impatience = None;
        self.given_up = true;
        crate::output::note(UNREAD);
        while self.ending.is_none() {
            match self.events.poll_next(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Some(Event::Revoked { ended })) => {
                    self.ending = Some(Ending::Revoked(report::revoked(&ended)));
                }
                Poll::Ready(Some(Event::Closed) | None) | Poll::Pending => self.ending = Some(Ending::Closed),
                Poll::Ready(Some(_)) => {}
            }
        }
    }

    /// Carries out what was read, and closes.
    fn stop(&mut self) {
        self.hear_out();
        self.close();
    }

    /// Reads no more commands, and carries out those that were read.
    fn hear_out(&mut self) {
        self.listening = false;
        self.orphaned = None;
        self.commands.close();
        while let Ok(input) = self.commands.try_recv() {
            self.carry_out(input);
        }
    }

    /// The gateway has ended. Whatever was asked is answered, and the last line is written.
    async fn end(mut self) -> ExitCode {
        let asked = self.closing != Closing::No && !self.lost;
        self.hear_out();
        while let Some(answer) = self.requests.join_next().await {
            if let Ok((answer, bytes)) = answer {
                self.answered(answer, bytes);
            }
        }
        if self.unanswered.len() > 0 {
            let many = self.unanswered.len();
            crate::output::note(&format!(
                "{many} messages were neither answered nor acknowledged: they are delivered again"
            ));
        }
        let code = match self.ending {
            Some(Ending::Revoked(line)) => {
                self.outbox.event(line, None);
                crate::REVOKED
            }
            Some(Ending::Closed) | None => {
                self.outbox.event(report::closed(), None);
                if asked { 0 } else { crate::FAILED }
            }
        };
        let hurried = self.impatience.is_some() || self.given_up;
        let patience = if self.given_up { Duration::ZERO } else { PATIENCE };
        let succeeded = match self.child {
            Some(child) => {
                let input_ended = async {
                    self.outbox.finish().await;
                    self.told_deaf || !self.outbox.has_failed()
                };
                // Its input ends because the gateway has, unless it was the other way round.
                let asked = self.asked || !asked;
                let tell = |status: &_| {
                    if !self.exited {
                        exec::tell_of_exit(status, asked);
                    }
                };
                child.end(input_ended, patience, tell).await
            }
            None => {
                let hurried = async {
                    if !hurried {
                        self.signal.notified().await;
                    }
                    let _ = timeout(patience, pending::<()>()).await;
                };
                tokio::select! {
                    biased;
                    () = self.outbox.finish() => !self.outbox.has_failed(),
                    () = hurried => {
                        if !self.given_up {
                            crate::output::note(UNREAD);
                        }
                        false
                    }
                }
            }
        };
        ExitCode::from(if code == 0 && !succeeded { crate::FAILED } else { code })
    }
}

/// The program's exit; never, when there is none.
async fn exited(child: &mut Option<Child>) -> io::Result<ExitStatus> {
    match child {
        Some(child) => child.exited().await,
        None => pending().await,
    }
}

fn after(time: Duration) -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(async move {
        let _ = timeout(time, pending::<()>()).await;
    })
}

async fn over(timer: &mut Option<Pin<Box<dyn Future<Output = ()>>>>) {
    match timer {
        Some(timer) => timer.await,
        None => pending().await,
    }
}
