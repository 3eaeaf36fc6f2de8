//! The body of one event: read, checked field by field, and kept as the text it was.

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use idae_socket_protocol::socketio::NAMESPACE_BYTES_MAX;

use super::problem::{Code, FieldError, Problem};
use super::{Settings, value};
use crate::hub::Target;

/// Longest id of an event, in characters.
pub(super) const ID_CHARS_MAX: usize = 128;

/// Faults that one answer names; a body can have a hundred thousand.
const ERRORS_MAX: usize = 20;

/// Characters of a name that was sent which the answer repeats.
pub(super) const NAME_CHARS_SHOWN: usize = 64;

/// The fields of an event, as they are offered to whoever misspells one.
pub(super) const FIELDS: [&str; 9] =
    ["payload", "rooms", "users", "broadcast", "except", "namespace", "sender", "id", "volatile"];

/// An event as a backend has sent it.
#[derive(Debug)]
pub(super) struct Submission<'a> {
    pub(super) target: Target,
    pub(super) volatile: bool,
    pub(super) id: Option<Cow<'a, str>>,
    pub(super) content: Content<'a>,
}

/// What clients get of it.
#[derive(Debug)]
pub(super) struct Content<'a> {
    payload: &'a str,
    rooms: Option<&'a str>,
    sender: Option<Cow<'a, str>>,
}

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deliver {
    /// `{"payload":…,"rooms":…,"sender":…}`
    Envelope,
    /// The payload alone.
    Payload,
}

impl<'a> Content<'a> {
    /// The rooms as they were written: a name, or a list of names.
    pub(super) const fn rooms(&self) -> Option<&'a str> {
        self.rooms
    }

    /// The event's one argument, in pieces of the publisher's own text, some of them empty.
    pub(super) fn argument(&self, deliver: Deliver) -> [&str; 7] {
        if deliver == Deliver::Payload {
            return [self.payload, "", "", "", "", "", ""];
        }
        let [rooms_key, rooms] = self.rooms.map_or(["", ""], |rooms| [",\"rooms\":", rooms]);
        let [sender_key, sender] = self.sender.as_deref().map_or(["", ""], |sender| [",\"sender\":", sender]);
        ["{\"payload\":", self.payload, rooms_key, rooms, sender_key, sender, "}"]
    }
}

impl<'a> Submission<'a> {
    /// Reads the body of `POST /<event>`.
    pub(super) fn parse(body: &'a str, settings: &Settings) -> Result<Self, Problem> {
        Ok(Self::read(body, settings, &[])?.0)
    }

    /// Reads an item of a batch, which names its event itself.
    pub(super) fn parse_item(item: &'a str, settings: &Settings) -> Result<(Cow<'a, str>, Self), Problem> {
        let (submission, event) = Self::read(item, settings, &["event"])?;
        match event {
            Some(event) => Ok((event, submission)),
            None => Err(Problem::of_fields(vec![FieldError {
                pointer: "/event".to_owned(),
                detail: "`event` is missing: an item of a batch names its event".to_owned(),
                code: Code::MissingEvent,
            }])),
        }
    }

    fn read(
        json: &'a str,
        settings: &Settings,
        more_fields: &[&str],
    ) -> Result<(Self, Option<Cow<'a, str>>), Problem> {
        let mut errors = Errors(Vec::new());
        let Ok(Fields(pairs)) = serde_json::from_str(json) else {
            // Either no JSON at all, or no object.
            value(json)?;
            errors.add("", Code::InvalidType, "the event must be a JSON object with a `payload`".to_owned());
            return Err(Problem::of_fields(errors.0));
        };
        let mut fields = Known::default();
        let mut is_odd = false;
        for (name, field) in &pairs {
            let slot = match name.as_ref() {
                "payload" => &mut fields.payload,
                "rooms" => &mut fields.rooms,
                "users" => &mut fields.users,
                "broadcast" => &mut fields.broadcast,
                "except" => &mut fields.except,
                "namespace" => &mut fields.namespace,
                "sender" => &mut fields.sender,
                "id" => &mut fields.id,
                "volatile" => &mut fields.volatile,
                "event" if more_fields.contains(&"event") => &mut fields.event,
                unknown => {
                    is_odd |= unknown.bytes().any(|byte| byte < b' ');
                    errors.unknown(unknown, more_fields);
                    continue;
                }
            };
            if slot.replace(field.get()).is_some() {
                errors.add(&format!("/{name}"), Code::DuplicateField, format!("`{name}` is given twice"));
            }
        }
        if is_odd {
            // Keys are read leniently. What only looks like JSON is told so.
            value(json)?;
        }
        let (submission, event) = fields.check(settings, &mut errors);
        match (submission, errors.0) {
            (Some(submission), errors) if errors.is_empty() => Ok((submission, event)),
            (_, errors) => Err(Problem::of_fields(errors)),
        }
    }

    /// Takes the id of the header, which must agree with the body's.
    pub(super) fn set_header_id(&mut self, header: Option<&str>) -> Result<(), Problem> {
        match (header, &self.id) {
            (None, _) => Ok(()),
            (Some(header), Some(id)) if header == id => Ok(()),
            (Some(_), Some(_)) => Err(Problem::new(
                Code::IdConflict,
                "the header Idempotency-Key and the body's `id` differ; send one of them, or the same twice",
            )),
            (Some(header), None) => {
                self.id = Some(Cow::Owned(header.to_owned()));
                Ok(())
            }
        }
    }
}

/// The known fields, as JSON text.
#[derive(Default)]
struct Known<'a> {
    payload: Option<&'a str>,
    rooms: Option<&'a str>,
    users: Option<&'a str>,
    broadcast: Option<&'a str>,
    except: Option<&'a str>,
    namespace: Option<&'a str>,
    sender: Option<&'a str>,
    id: Option<&'a str>,
    volatile: Option<&'a str>,
    event: Option<&'a str>,
}

impl<'a> Known<'a> {
    /// Checks every field, so that one answer names all that is wrong.
    fn check(
        self,
        settings: &Settings,
        errors: &mut Errors,
    ) -> (Option<Submission<'a>>, Option<Cow<'a, str>>) {
        if self.payload.is_none() {
            errors.add(
                "/payload",
                Code::MissingPayload,
                "`payload` is missing: it is what the clients get".to_owned(),
            );
        }
        let payload = self.payload.unwrap_or("null");
        let mut target = Target {
            namespace: "/".into(),
            rooms: errors.names(self.rooms, "/rooms", settings.room_bytes_max),
            users: errors.names(self.users, "/users", settings.room_bytes_max),
            everyone: errors.boolean(self.broadcast, "/broadcast"),
            except: errors.names(self.except, "/except", settings.room_bytes_max),
        };
        let own = own(payload).filter(|own| *own != "null");
        target.users.extend(errors.names(own, "/payload/own", settings.room_bytes_max));
        if let Some(namespace) = errors.string(self.namespace, "/namespace") {
            if namespace.len() > NAMESPACE_BYTES_MAX {
                let detail = format!("a namespace has at most {NAMESPACE_BYTES_MAX} bytes");
                errors.add("/namespace", Code::UnknownNamespace, detail);
            } else if !settings.namespaces.exists(&namespace) {
                let detail = match settings.namespaces.closest(&namespace) {
                    Some(closest) => format!(
                        "there is no namespace `{namespace}` (setting `namespaces`); the closest one is `{closest}`"
                    ),
                    None => format!("there is no namespace `{namespace}` (setting `namespaces`)"),
                };
                errors.add("/namespace", Code::UnknownNamespace, detail);
            }
            if namespace != "/" {
                target.namespace = Cow::Owned(namespace.into_owned());
            }
        }
        if let Some(sender) = self.sender
            && !sender.starts_with('{')
        {
            errors.add("/sender", Code::InvalidType, "`sender` must be an object".to_owned());
        }
        let id = errors.string(self.id, "/id");
        if id.as_ref().is_some_and(|id| !(1..=ID_CHARS_MAX).contains(&id.chars().count())) {
            errors.add("/id", Code::InvalidValue, format!("`id` has 1 to {ID_CHARS_MAX} characters"));
        }
        let volatile = errors.boolean(self.volatile, "/volatile");
        let event = errors.string(self.event, "/event");
        if errors.0.is_empty() && target.rooms.is_empty() && target.users.is_empty() && !target.everyone {
            let detail =
                "name rooms, users, payload.own or broadcast:true; an event without a target reaches nobody";
            errors.add("", Code::NoTarget, detail.to_owned());
        }
        if !errors.0.is_empty() {
            return (None, event);
        }
        let sender = self.sender.map(|sender| settings.sender_redact.redact(sender));
        let content = Content { payload, rooms: self.rooms, sender };
        (Some(Submission { target, volatile, id, content }), event)
    }
}

/// The value of `own` in an object, without looking at more of it than needed.
fn own(payload: &str) -> Option<&str> {
    static OWN: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"own\""));
    if !payload.starts_with('{') || !may_have(payload, &OWN) {
        return None;
    }
    let Fields(pairs) = serde_json::from_str(payload).ok()?;
    pairs.iter().rev().find(|(name, _)| name == "own").map(|(_, value)| value.get())
}

/// Whether an object may have a key that contains a text, told without parsing it. A key can be written with
/// escapes; only then is it not found as text.
fn may_have(object: &str, key: &Finder<'_>) -> bool {
    key.find(object.as_bytes()).is_some() || memchr::memchr(b'\\', object.as_bytes()).is_some()
}

/// The fields of a sender that clients must not get.
pub(crate) struct Secrets(Vec<(String, Finder<'static>)>);

impl Secrets {
    pub(crate) fn new(names: &[String]) -> Self {
        Self(names.iter().map(|name| (name.clone(), Finder::new(name).into_owned())).collect())
    }

    /// A sender without its secrets. The rest stays the text that it was.
    fn redact<'a>(&self, sender: &'a str) -> Cow<'a, str> {
        if !self.0.iter().any(|(_, finder)| may_have(sender, finder)) {
            return Cow::Borrowed(sender);
        }
        let Ok(Fields(pairs)) = serde_json::from_str(sender) else { return Cow::Borrowed("{}") };
        let is_secret = |name: &str| self.0.iter().any(|(secret, _)| secret == name);
        if !pairs.iter().any(|(name, _)| is_secret(name)) {
            return Cow::Borrowed(sender);
        }
        let kept = pairs.iter().filter(|(name, _)| !is_secret(name));
        let kept: Vec<String> = kept
            .map(|(name, value)| format!("{}:{}", serde_json::Value::from(name.as_ref()), value.get()))
            .collect();
        Cow::Owned(format!("{{{}}}", kept.join(",")))
    }
}

/// The fields of a JSON object in their order, with doubles.
struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    pairs.push((name, map.next_value()?));
                }
                Ok(Fields(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// A key, borrowed unless it has escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }

            // A key with a lone surrogate is valid JSON, but no Rust string and no field of ours.
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(String::from_utf8_lossy(bytes).into_owned())))
            }

            fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
                Ok(Name(String::from_utf8_lossy(bytes)))
            }
        }
        deserializer.deserialize_bytes(Text)
    }
}

/// All that is wrong with a body.
struct Errors(Vec<FieldError>);

impl Errors {
    fn add(&mut self, pointer: &str, code: Code, detail: String) {
        if self.0.len() >= ERRORS_MAX {
            return;
        }
        self.0.push(FieldError { pointer: pointer.to_owned(), detail, code });
    }

    fn unknown(&mut self, name: &str, more_fields: &[&str]) {
        // Before anything is compared: a body can have a hundred thousand of them.
        if self.0.len() >= ERRORS_MAX {
            return;
        }
        let name: String = name.chars().take(NAME_CHARS_SHOWN).collect();
        let known = FIELDS.iter().chain(more_fields);
        let closest = known.min_by_key(|known| strsim::damerau_levenshtein(known, &name));
        let hint = closest.map_or(String::new(), |closest| format!("; did you mean `{closest}`?"));
        let pointer = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        self.add(&pointer, Code::UnknownField, format!("unknown field `{name}`{hint}"));
    }

    fn boolean(&mut self, json: Option<&str>, pointer: &str) -> bool {
        match json {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => {
                self.add(pointer, Code::InvalidType, format!("`{}` must be true or false", &pointer[1..]));
                false
            }
        }
    }

    fn string<'a>(&mut self, json: Option<&'a str>, pointer: &str) -> Option<Cow<'a, str>> {
        let json = json?;
        match string(json) {
            Some(text) => Some(text),
            None => {
                self.add(pointer, Code::InvalidType, format!("`{}` must be a string", &pointer[1..]));
                None
            }
        }
    }

    /// A name or a list of names. Numbers are taken as their text.
    fn names(&mut self, json: Option<&str>, pointer: &str, bytes_max: usize) -> Vec<String> {
        let Some(json) = json else { return Vec::new() };
        let (items, is_list) = match json.as_bytes().first() {
            Some(b'[') => (serde_json::from_str::<Vec<&RawValue>>(json).unwrap_or_default(), true),
            _ => (serde_json::from_str::<&RawValue>(json).into_iter().collect(), false),
        };
        let mut names = Vec::with_capacity(items.len());
        for (index, item) in items.iter().map(|item| item.get()).enumerate() {
            let pointer = || if is_list { format!("{pointer}/{index}") } else { pointer.to_owned() };
            let name = match item.as_bytes().first() {
                Some(b'-' | b'0'..=b'9') => Some(Cow::Borrowed(item)),
                _ => string(item),
            };
            match name {
                Some(name) if name.is_empty() => {
                    self.add(&pointer(), Code::InvalidValue, "a name must not be empty".to_owned());
                }
                Some(name) if name.len() > bytes_max => {
                    self.add(&pointer(), Code::InvalidValue, format!("a name may have {bytes_max} bytes"));
                }
                Some(name) => names.push(name.into_owned()),
                None => {
                    let detail = "must be a string, a number, or an array of them".to_owned();
                    self.add(&pointer(), Code::InvalidType, detail);
                }
            }
        }
        names
    }
}

/// The value of a JSON string.
fn string(json: &str) -> Option<Cow<'_, str>> {
    if !json.starts_with('"') {
        return None;
    }
    let inner = &json[1..json.len() - 1];
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(json).ok().map(Cow::Owned)
}
