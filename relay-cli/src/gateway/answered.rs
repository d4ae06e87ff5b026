//! Which delivery a request answers (`--ack answered`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The actions that answer a message of the chat that they go to. Typing, reactions and edits show that work goes on: an
/// agent that crashes after them has not answered.
const ANSWERS: [&str; 4] = ["send", "send_media", "prompt", "follow_up"];

/// So many deliveries whose acknowledgements wait for one answer are worth a word: a common window of connectors, which
/// deliver no more then.
const MANY: u64 = 16;

/// So many keys are remembered.
const KEYS: usize = 4096;

/// What a request says about the message that it may answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Aim {
    pub(super) op: String,
    pub(super) chat: Option<String>,
    pub(super) reply_to: Option<String>,
    pub(super) session: Option<String>,
    pub(super) platform: Option<String>,
}

/// What is known of a message that waits for its answer.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) key: String,
    pub(super) platform: String,
    pub(super) chat: String,
    pub(super) message_id: Option<String>,
    pub(super) session: String,
}

/// What holds up acknowledgements, which leave in order (ACK-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeldUp {
    /// The oldest delivery without an answer.
    pub(super) oldest: u64,
    /// How many have to wait for it, with itself.
    pub(super) waiting: u64,
}

/// The messages without an answer, by the number of their delivery: numbers only grow.
#[derive(Debug, Default)]
pub(super) struct Unanswered {
    questions: BTreeMap<u64, Question>,
    /// For each of them, how many deliveries with a buffer id there had been, with itself.
    places: BTreeMap<u64, u64>,
    chats: BTreeMap<String, BTreeSet<u64>>,
    keys: BTreeMap<String, u64>,
    /// The keys of the latest deliveries of all kinds, the last one last.
    seen: VecDeque<String>,
    seen_keys: BTreeSet<String>,
    /// How many deliveries with a buffer id there have been.
    buffered: u64,
    /// That many are held up was said.
    told: bool,
}

impl Unanswered {
    /// Takes notice of a delivery with this key. `question`: it waits for an answer. What is to be said now because it holds
    /// up many.
    pub(super) fn arrived(
        &mut self,
        number: u64,
        key: String,
        is_buffered: bool,
        question: Option<Question>,
    ) -> Option<HeldUp> {
        self.buffered += u64::from(is_buffered);
        if self.seen_keys.insert(key.clone()) {
            self.seen.push_back(key.clone());
            if self.seen.len() > KEYS
                && let Some(oldest) = self.seen.pop_front()
            {
                self.seen_keys.remove(&oldest);
            }
        }
        if let Some(question) = question {
            self.chats.entry(question.chat.clone()).or_default().insert(number);
            self.keys.insert(key, number);
            self.places.insert(number, self.buffered);
            self.questions.insert(number, question);
        }
        let held_up = self.held_up().filter(|held_up| held_up.waiting >= MANY)?;
        (!std::mem::replace(&mut self.told, true)).then_some(held_up)
    }

    fn held_up(&self) -> Option<HeldUp> {
        let (oldest, place) = self.places.first_key_value()?;
        Some(HeldUp { oldest: *oldest, waiting: self.buffered - place + 1 })
    }

    /// Takes a message out that has ended, if it is there.
    pub(super) fn remove(&mut self, number: u64) {
        let Some(question) = self.questions.remove(&number) else { return };
        self.places.remove(&number);
        if let Some(chat) = self.chats.get_mut(&question.chat) {
            chat.remove(&number);
            if chat.is_empty() {
                self.chats.remove(&question.chat);
            }
        }
        // A replay of the same delivery may have taken its place.
        if self.keys.get(&question.key) == Some(&number) {
            self.keys.remove(&question.key);
        }
        self.told &= self.held_up().is_some_and(|held_up| held_up.waiting > MANY / 2);
    }

    pub(super) fn len(&self) -> usize {
        self.questions.len()
    }

    /// Takes out the messages that a request answers. `key`: its `id`, which may be the key of one.
    ///
    /// One that names a message, by its key or its message id, answers that and the earlier ones of its chat. One that goes
    /// to the chat and names none answers the oldest there, so that of two messages the second is not lost if the agent
    /// crashes on it. For the same reason, one that names a delivery which waits for no answer answers nothing: it is a
    /// further part of the answer.
    pub(super) fn claim(&mut self, aim: &Aim, key: Option<&str>) -> Vec<u64> {
        let claimed = self.answered_by(aim, key);
        for number in &claimed {
            self.remove(*number);
        }
        claimed
    }

    fn answered_by(&self, aim: &Aim, key: Option<&str>) -> Vec<u64> {
        match key.filter(|_| aim.op != "typing").map(|key| (self.keys.get(key), self.seen_keys.contains(key))) {
            Some((Some(number), _)) => return self.up_to(*number),
            Some((None, true)) => return Vec::new(),
            _ if !ANSWERS.contains(&aim.op.as_str()) => return Vec::new(),
            _ => {}
        }
        let fits = |question: &Question| {
            aim.platform.as_ref().is_none_or(|platform| *platform == question.platform)
                && match (&aim.chat, &aim.session) {
                    (Some(chat), _) => *chat == question.chat,
                    (None, Some(session)) => *session == question.session,
                    (None, None) => false,
                }
        };
        let named = |question: &Question| aim.reply_to.is_none() || aim.reply_to == question.message_id;
        let numbers: Vec<u64> = match &aim.chat {
            Some(chat) => self.chats.get(chat).into_iter().flatten().copied().collect(),
            None => self.questions.keys().copied().collect(),
        };
        let found = numbers
            .into_iter()
            .find(|number| self.questions.get(number).is_some_and(|question| fits(question) && named(question)));
        match found {
            Some(number) if aim.reply_to.is_some() => self.up_to(number),
            Some(number) => vec![number],
            None => Vec::new(),
        }
    }

    /// This message and the earlier ones of its chat.
    fn up_to(&self, number: u64) -> Vec<u64> {
        let Some(last) = self.questions.get(&number) else { return Vec::new() };
        let chat = self.chats.get(&last.chat).into_iter().flat_map(|chat| chat.range(..=number));
        let same = |number: &&u64| self.questions.get(number).is_some_and(|one| one.platform == last.platform);
        chat.filter(same).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [u64; 0] = [];

    fn unanswered(messages: &[(&str, &str)]) -> Unanswered {
        let mut unanswered = Unanswered::default();
        for (number, (platform, chat)) in (1..).zip(messages) {
            let key = format!("k{number}");
            let question = Question {
                key: key.clone(),
                platform: (*platform).into(),
                chat: (*chat).into(),
                message_id: Some(format!("m{number}")),
                session: format!("s:{platform}:{chat}"),
            };
            assert_eq!(unanswered.arrived(number, key, true, Some(question)), None);
        }
        unanswered
    }

    fn aim(op: &str, chat: &str) -> Aim {
        Aim { op: op.into(), chat: Some(chat.into()), ..Aim::default() }
    }

    #[test]
    fn an_answer_that_names_nothing_is_to_the_oldest_of_its_chat() {
        let mut messages = unanswered(&[("a", "1"), ("a", "2"), ("a", "1"), ("b", "1")]);
        assert_eq!(messages.claim(&aim("send", "1"), None), [1]);
        assert_eq!(messages.claim(&aim("send", "3"), None), NONE);
        let on_b = Aim { platform: Some("b".into()), ..aim("prompt", "1") };
        assert_eq!(messages.claim(&on_b, None), [4]);
        assert_eq!(messages.claim(&aim("send_media", "1"), None), [3]);
        assert_eq!(messages.claim(&aim("send", "1"), None), NONE);
        let follow_up = Aim { op: "follow_up".into(), session: Some("s:a:2".into()), ..Aim::default() };
        assert_eq!(messages.claim(&follow_up, None), [2]);
        assert_eq!((messages.len(), messages.chats.len(), messages.keys.len()), (0, 0, 0));
    }

    #[test]
    fn what_shows_that_work_goes_on_is_no_answer() {
        let mut messages = unanswered(&[("a", "1")]);
        for op in ["typing", "react", "edit", "get_chat_info", "thread_create", "later"] {
            assert_eq!(messages.claim(&aim(op, "1"), None), NONE, "{op}");
        }
        assert_eq!(messages.claim(&aim("typing", "1"), Some("k1")), NONE);
        assert_eq!(messages.claim(&aim("react", "1"), Some("k1")), [1], "unless it names the message");
    }

    #[test]
    fn an_answer_that_names_a_message_is_to_the_earlier_ones_of_its_chat_as_well() {
        let chats = [("a", "1"), ("a", "2"), ("b", "1"), ("a", "1"), ("a", "1")];
        let reply = Aim { reply_to: Some("m4".into()), ..aim("send", "1") };
        let mut messages = unanswered(&chats);
        assert_eq!(messages.claim(&reply, Some("unknown")), [1, 4]);
        assert_eq!(messages.claim(&reply, None), NONE, "a second part of the same answer");
        assert_eq!(unanswered(&chats).claim(&aim("send", "2"), Some("k4")), [1, 4]);
    }

    #[test]
    fn a_further_part_of_an_answer_answers_no_other_message() {
        let mut messages = unanswered(&[("a", "1"), ("a", "1")]);
        assert_eq!(messages.arrived(3, "live".into(), false, None), None);
        assert_eq!(messages.claim(&aim("send", "1"), Some("live")), NONE);
        for claimed in [&[1][..], &[], &[]] {
            assert_eq!(messages.claim(&aim("send", "1"), Some("k1")), claimed);
        }
        assert_eq!(messages.claim(&aim("send", "1"), Some("its own id")), [2]);
    }

    #[test]
    fn the_keys_that_are_remembered_are_bounded() {
        let mut messages = unanswered(&[("a", "1")]);
        for number in 2..=2 + KEYS as u64 {
            let _ = messages.arrived(number, number.to_string(), false, None);
            let _ = messages.arrived(number, number.to_string(), false, None);
        }
        assert_eq!((messages.seen.len(), messages.seen_keys.len()), (KEYS, KEYS));
        assert_eq!(messages.claim(&aim("send", "1"), Some("k1")), [1], "it still waits");
    }

    #[test]
    fn many_that_are_held_up_are_worth_a_word_once() {
        for all in [true, false] {
            let mut messages = unanswered(&[("a", "1"), ("a", "1")]);
            let more = |messages: &mut Unanswered, number: u64| {
                let question = Question {
                    key: number.to_string(),
                    platform: "a".into(),
                    chat: "1".into(),
                    message_id: None,
                    session: String::new(),
                };
                messages.arrived(number, number.to_string(), true, Some(question).filter(|_| all))
            };
            let said: Vec<_> = (3..30).filter_map(|number| more(&mut messages, number)).collect();
            assert_eq!(said, [HeldUp { oldest: 1, waiting: MANY }], "whether or not the others are answered");
            messages.remove(1);
            assert_eq!(more(&mut messages, 30), None, "it is still said");
            for number in 2..30 {
                messages.remove(number);
            }
            assert_eq!(messages.arrived(31, "31".into(), false, None), None);
            assert_eq!(unanswered(&[("a", "1")]).held_up(), Some(HeldUp { oldest: 1, waiting: 1 }));
        }
    }
}
