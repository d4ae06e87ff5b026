//! Where the parts of an event stand in a line.

use crate::json::scan::{NotJson, Place, Scan};

/// The texts of an event itself.
#[derive(Clone, Copy)]
pub(super) enum Field {
    Text,
    MessageId,
    ReplyToMessageId,
    MessageType,
}

/// How many [`Field`]s there are.
pub(super) const FIELDS: usize = 4;

/// The texts of an event's source.
#[derive(Clone, Copy)]
pub(super) enum Source {
    Platform,
    ChatId,
    ChatType,
    ChatName,
    UserId,
    UserName,
    ThreadId,
    ChatTopic,
    UserIdAlt,
    ChatIdAlt,
    ScopeId,
    GuildId,
    ParentChatId,
    MessageId,
    Profile,
}

/// How many [`Source`]s there are.
pub(super) const SOURCE: usize = 15;

impl Source {
    #[inline(always)]
    fn find(name: &[u8]) -> Option<usize> {
        let field = match name {
            b"platform" => Self::Platform,
            b"chat_id" => Self::ChatId,
            b"chat_type" => Self::ChatType,
            b"chat_name" => Self::ChatName,
            b"user_id" => Self::UserId,
            b"user_name" => Self::UserName,
            b"thread_id" => Self::ThreadId,
            b"chat_topic" => Self::ChatTopic,
            b"user_id_alt" => Self::UserIdAlt,
            b"chat_id_alt" => Self::ChatIdAlt,
            b"scope_id" => Self::ScopeId,
            b"guild_id" => Self::GuildId,
            b"parent_chat_id" => Self::ParentChatId,
            b"message_id" => Self::MessageId,
            b"profile" => Self::Profile,
            _ => return None,
        };
        Some(field as usize)
    }
}

/// Where the parts of an event stand. Of members of the same name it is the last that counts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct EventPlaces {
    pub(super) whole: Place,
    pub(super) fields: [Place; FIELDS],
    pub(super) source: [Place; SOURCE],
    pub(super) media_urls: Place,
    pub(super) context: Place,
}

impl EventPlaces {
    /// Goes over the object that begins here, which is where it stands. Every part has to be absent yet.
    pub(super) fn scan(&mut self, scan: &mut Scan<'_>) -> Result<Place, NotJson> {
        let start = scan.at();
        scan.object(|scan, name| {
            let found = name.find(|name| {
                Some(match name {
                    b"text" => Part::Field(Field::Text),
                    b"message_id" => Part::Field(Field::MessageId),
                    b"reply_to_message_id" => Part::Field(Field::ReplyToMessageId),
                    b"message_type" => Part::Field(Field::MessageType),
                    b"source" => Part::Source,
                    b"media_urls" => Part::MediaUrls,
                    b"context" => Part::Context,
                    _ => return None,
                })
            });
            if let Some(Part::Source) = found {
                scan.members(&mut self.source, Source::find)?;
                return Ok(());
            }
            let place = scan.value()?;
            match found {
                Some(Part::Field(field)) => {
                    if let Some(slot) = self.fields.get_mut(field as usize) {
                        *slot = place;
                    }
                }
                Some(Part::MediaUrls) => self.media_urls = place,
                Some(Part::Context) => self.context = place,
                Some(Part::Source) | None => {}
            }
            Ok(())
        })?;
        self.whole = scan.since(start);
        Ok(self.whole)
    }
}

/// What a member of an event is.
#[derive(Clone, Copy)]
enum Part {
    Field(Field),
    Source,
    MediaUrls,
    Context,
}
