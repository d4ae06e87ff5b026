//! Which delivery a request answers (`--ack answered`).

use std::collections::{BTreeMap, BTreeSet};

/// The actions that answer a message of the chat that they go to. Typing, reactions and edits show that work goes on: an
/// agent that crashes after them has not answered.
const ANSWERS: [&str; 4] = ["send", "send_media", "prompt", "follow_up"];

/// So many messages without an answer are worth a word: a common window of connectors, which deliver no more then.
const MANY: usize = 16;

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

/// The messages without an answer, by the number of their delivery: numbers only grow.
#[derive(Debug, Default)]
pub(super) struct Unanswered {
    questions: BTreeMap<u64, Question>,
    chats: BTreeMap<String, BTreeSet<u64>>,
    keys: BTreeMap<String, u64>,
    /// That there are many was said.
    told: bool,
}

impl Unanswered {
    /// Adds a message. Whether it has to be said that there are many.
    pub(super) fn insert(&mut self, number: u64, question: Question) -> bool {
        self.chats.entry(question.chat.clone()).or_default().insert(number);
        self.keys.insert(question.key.clone(), number);
        self.questions.insert(number, question);
        let many = self.questions.len() >= MANY;
        many && !std::mem::replace(&mut self.told, true)
    }

    /// Takes a message out that has ended, if it is there.
    pub(super) fn remove(&mut self, number: u64) {
        let Some(question) = self.questions.remove(&number) else { return };
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
        self.told &= self.questions.len() > MANY / 2;
    }

    pub(super) fn len(&self) -> usize {
        self.questions.len()
    }

    /// Takes out the messages that a request answers. `key`: its `id`, which may be the key of one.
    ///
    /// One that names a message, by its key or its message id, answers that and the earlier ones of its chat. One that goes
    /// to the chat and names none answers the oldest there, so that of two messages the second is not lost if the agent
    /// crashes on it.
    pub(super) fn claim(&mut self, aim: &Aim, key: Option<&str>) -> Vec<u64> {
        let claimed = self.answered_by(aim, key);
        for number in &claimed {
            self.remove(*number);
        }
        claimed
    }

    fn answered_by(&self, aim: &Aim, key: Option<&str>) -> Vec<u64> {
        if let Some(number) = key.filter(|_| aim.op != "typing").and_then(|key| self.keys.get(key)) {
            return self.up_to(*number);
        }
        if !ANSWERS.contains(&aim.op.as_str()) {
            return Vec::new();
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
            let question = Question {
                key: format!("k{number}"),
                platform: (*platform).into(),
                chat: (*chat).into(),
                message_id: Some(format!("m{number}")),
                session: format!("s:{platform}:{chat}"),
            };
            assert!(!unanswered.insert(number, question));
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
    fn many_are_worth_a_word_once() {
        let mut messages = unanswered(&[("a", "1"); MANY - 1]);
        let more = |number: u64| Question {
            key: number.to_string(),
            platform: "a".into(),
            chat: "1".into(),
            message_id: None,
            session: String::new(),
        };
        assert!(messages.insert(100, more(100)) && !messages.insert(101, more(101)));
        for number in 1..MANY as u64 {
            messages.remove(number);
        }
        assert_eq!(messages.len(), 2);
        assert!((200..200 + MANY as u64).any(|number| messages.insert(number, more(number))));
    }
}
