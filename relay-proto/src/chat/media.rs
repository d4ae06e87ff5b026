//! Media by reference: what comes with a message, and what can be sent.

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use serde_json::value::RawValue;

use crate::frame::MessageEvent;
use crate::json;

/// What kind of media it is, which decides how a platform shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs)] // The names say it.
pub enum MediaKind {
    Image,
    Voice,
    Audio,
    Video,
    Document,
}

impl MediaKind {
    const ALL: [Self; 5] = [Self::Image, Self::Voice, Self::Audio, Self::Video, Self::Document];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Voice => "voice",
            Self::Audio => "audio",
            Self::Video => "video",
            Self::Document => "document",
        }
    }

    /// Reads a name on the wire.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The kind of a MIME type; a document, if it is none of the others'.
    pub fn of_mime(mime: &str) -> Self {
        match mime.split('/').next() {
            Some("image") => Self::Image,
            Some("audio") => Self::Audio,
            Some("video") => Self::Video,
            _ => Self::Document,
        }
    }
}

/// One of the media that came with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Media<'a> {
    /// Where it can be fetched. Soon: connectors keep what they host for about an hour. What the connector hosts asks for
    /// the gateway's own token.
    pub url: &'a str,
    /// What it is, as the connector said or else as its MIME type says. `None`: go by the message's type.
    pub kind: Option<MediaKind>,
    /// Its MIME type.
    pub mime: Option<Cow<'a, str>>,
    /// Its size in bytes.
    pub size: Option<u64>,
    /// What the file was called.
    pub filename: Option<Cow<'a, str>>,
    /// The text that belongs to it.
    pub caption: Option<Cow<'a, str>>,
}

impl MessageEvent {
    /// The media that came with the message, in the order of [`media_urls`](Self::media_urls), each with what the
    /// connector said about its URL (CHAT-6). Of equal URLs the first has it. Where the connector names no URL at all, each
    /// has what stands at its place.
    pub fn media(&self) -> Vec<Media<'_>> {
        let [urls, items] = json::members(self.raw(), &["media_urls", "media"]).unwrap_or_default();
        let items = items.and_then(json::elements).unwrap_or_default();
        let mut described: BTreeMap<Cow<'_, str>, &RawValue> = items
            .iter()
            .filter_map(|item| {
                let [url] = json::members(item.get(), &["url"]).ok()?;
                Some((json::text(url?).filter(|url| !url.is_empty())?, *item))
            })
            .collect();
        if described.is_empty() {
            // An element that is no URL takes its place in both lists.
            let listed = urls.and_then(json::elements).unwrap_or_default();
            let mut places =
                listed.iter().zip(items).filter(|(url, _)| json::text(url).is_some()).map(|(_, item)| item);
            return self.media_urls().map(|url| Media::read(url, places.next())).collect();
        }
        // Each is handed out once: any number of equal URLs must not make as many copies of what one item says.
        self.media_urls().map(|url| Media::read(url, described.remove(url))).collect()
    }
}

impl<'a> Media<'a> {
    fn read(url: &'a str, described: Option<&'a RawValue>) -> Self {
        let names = ["kind", "mime", "size", "filename", "caption"];
        let fields = described.and_then(|item| json::members(item.get(), &names).ok()).unwrap_or_default();
        let [kind, mime, size, filename, caption] = fields;
        let text = |field: Option<&'a RawValue>| field.and_then(json::text).filter(|text| !text.is_empty());
        let mime = text(mime);
        let kind = text(kind).and_then(|kind| MediaKind::parse(&kind)).or(mime.as_deref().map(MediaKind::of_mime));
        let size = size.and_then(|size| size.get().parse().ok());
        Self { url, kind, mime, size, filename: text(filename), caption: text(caption) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // proves: CHAT-6
    #[test]
    fn media_are_matched_by_url_and_not_by_place() {
        let event = MessageEvent::parse(
            r#"{"media_urls":["u1","u2","u3",5,"u\u00e9"],"media":[
                {"url":"u2","kind":"voice","mime":"audio/ogg","size":7,"filename":"v.ogg","caption":"hear \"me\""},
                {"url":"u1","mime":"image/png"},{"mime":"video/mp4"},"u3",{"url":"other"},
                {"url":"ué","kind":"hologram","mime":"","size":-1}]}"#,
        )
        .unwrap();
        let media = event.media();
        let kinds: Vec<_> = media.iter().map(|one| (one.url, one.kind, one.mime.as_deref())).collect();
        assert_eq!(
            kinds,
            [
                ("u1", Some(MediaKind::Image), Some("image/png")),
                ("u2", Some(MediaKind::Voice), Some("audio/ogg")),
                ("u3", None, None),
                ("5", None, None),
                ("ué", None, None),
            ]
        );
        assert_eq!((media[1].size, media[1].filename.as_deref()), (Some(7), Some("v.ogg")));
        assert_eq!((media[1].caption.as_deref(), media[4].size), (Some("hear \"me\""), None));
    }

    // proves: CHAT-6
    #[test]
    fn where_no_item_has_a_url_the_place_decides() {
        let named = |json: &str| {
            let event = MessageEvent::parse(json).unwrap();
            event.media().iter().map(|one| one.filename.as_deref().map(str::to_owned)).collect::<Vec<_>>()
        };
        let names = |names: [Option<&str>; 2]| names.map(|name| name.map(str::to_owned)).to_vec();
        let both = r#""media":[{"filename":"a"},{"url":"","filename":"b"}]"#;
        for (urls, expected) in [
            (r#"["u","v"]"#, [Some("a"), Some("b")]),
            (r#"["u","u"]"#, [Some("a"), Some("b")]),
            (r#"["u",null,"v"]"#, [Some("a"), None]),
            (r#"[null,"u","v"]"#, [Some("b"), None]),
        ] {
            assert_eq!(named(&alloc::format!(r#"{{"media_urls":{urls},{both}}}"#)), names(expected), "{urls}");
        }
        let one = r#"{"media_urls":["u","v"],"media":[{"filename":"a"},{"url":"u","filename":"b"}]}"#;
        assert_eq!(named(one), names([Some("b"), None]), "one URL, and the place says nothing");
        assert_eq!(named(r#"{"media_urls":["u","v"],"media":[5,{"filename":"b"}]}"#), names([None, Some("b")]));
    }

    // proves: CHAT-6, FRAME-3
    #[test]
    fn what_is_said_of_a_url_is_said_once() {
        let caption = "c".repeat(10_000);
        let event = MessageEvent::parse(&alloc::format!(
            r#"{{"media_urls":["u"{}],"media":[{{"url":"u","kind":"image","caption":"\n{caption}"}}]}}"#,
            r#","u""#.repeat(999)
        ))
        .unwrap();
        let media = event.media();
        assert_eq!(media.len(), 1000, "`media_urls` decides");
        assert_eq!((media[0].kind, media[0].caption.as_ref().unwrap().len()), (Some(MediaKind::Image), 10_001));
        assert!(media[1..].iter().all(|one| one.url == "u" && one.kind.is_none() && one.caption.is_none()));
        let texts = media.iter().flat_map(|one| [&one.mime, &one.filename, &one.caption]).flatten();
        let copied: usize = texts.filter(|text| matches!(text, Cow::Owned(_))).map(|text| text.len()).sum();
        assert!(copied <= event.raw().len(), "{copied} bytes of an event of {}", event.raw().len());
    }

    // proves: CHAT-6
    #[test]
    fn without_urls_there_are_no_media() {
        for json in ["{}", r#"{"media":[{"url":"u"}]}"#, r#"{"media_urls":null,"media":5}"#] {
            assert_eq!(MessageEvent::parse(json).unwrap().media(), [], "{json}");
        }
        assert_eq!(MediaKind::of_mime("application/pdf"), MediaKind::Document);
        assert_eq!(MediaKind::of_mime("video/mp4"), MediaKind::Video);
    }
}
