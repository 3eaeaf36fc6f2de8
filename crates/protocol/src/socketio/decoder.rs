//! Binary packets arrive in pieces; this puts them together.

use std::borrow::Cow;

use bytes::Bytes;

use super::Args;
use super::decode::{DecodeError, Kind, Packet, decode};

/// A packet with everything that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// `/` unless the packet names another.
    pub namespace: Cow<'a, str>,
    /// The acknowledgement id.
    pub id: Option<u64>,
    /// What it is.
    pub content: Content<'a>,
}

/// The content of a complete packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content<'a> {
    /// CONNECT with its JSON object, if it has one.
    Connect(Option<Cow<'a, str>>),
    /// DISCONNECT.
    Disconnect,
    /// EVENT or BINARY_EVENT.
    Event(Cow<'a, str>, Args<'a>),
    /// ACK or BINARY_ACK.
    Ack(Args<'a>),
    /// CONNECT_ERROR with a JSON string or object.
    ConnectError(Cow<'a, str>),
}

/// Puts the messages of one connection together to packets.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Boxed, because few connections ever receive a binary packet.
    pending: Option<Box<Pending>>,
}

#[derive(Debug)]
struct Pending {
    namespace: String,
    id: Option<u64>,
    /// `None` for an acknowledgement.
    name: Option<String>,
    items: String,
    due: usize,
    bytes: usize,
    attachments: Vec<Bytes>,
}

impl Decoder {
    /// Takes a text message. `None`: attachments have to follow.
    ///
    /// # Errors
    /// It is no packet, or attachments of the one before are missing.
    pub fn text<'a>(&mut self, text: &'a str) -> Result<Option<Decoded<'a>>, DecodeError> {
        if self.pending.take().is_some() {
            return Err(DecodeError::Unexpected);
        }
        let packet = decode(text)?;
        if packet.attachments == 0 {
            return Ok(Some(complete(packet)));
        }
        let (name, items) = match packet.kind {
            Kind::Event { name, args } => (Some(name.into_owned()), args),
            Kind::Ack(args) => (None, args),
            _ => return Err(DecodeError::IllegalAttachments),
        };
        self.pending = Some(Box::new(Pending {
            namespace: packet.namespace.to_owned(),
            id: packet.id,
            name,
            items: items.to_owned(),
            due: packet.attachments,
            bytes: 0,
            attachments: Vec::new(),
        }));
        Ok(None)
    }

    /// Takes a binary message. `Some` when it was the last that the packet waited for.
    ///
    /// # Errors
    /// No packet waits for it, or its attachments pass `bytes_max` together.
    pub fn binary(
        &mut self,
        bytes: &[u8],
        bytes_max: usize,
    ) -> Result<Option<Decoded<'static>>, DecodeError> {
        let pending = self.pending.as_mut().ok_or(DecodeError::Unexpected)?;
        pending.bytes = pending.bytes.saturating_add(bytes.len());
        if pending.bytes > bytes_max {
            self.pending = None;
            return Err(DecodeError::TooLarge);
        }
        pending.attachments.push(Bytes::copy_from_slice(bytes));
        if pending.attachments.len() < pending.due {
            return Ok(None);
        }
        Ok(self.pending.take().map(|pending| {
            let Pending { namespace, id, name, items, attachments, .. } = *pending;
            let args = Args::from_raw(items, attachments);
            let content = match name {
                Some(name) => Content::Event(Cow::Owned(name), args),
                None => Content::Ack(args),
            };
            Decoded { namespace: Cow::Owned(namespace), id, content }
        }))
    }

    /// Bytes kept for a packet whose attachments are not all there.
    pub fn held_bytes(&self) -> usize {
        self.pending.as_ref().map_or(0, |pending| {
            let name = pending.name.as_ref().map_or(0, String::len);
            pending.namespace.len() + name + pending.items.len() + pending.bytes
        })
    }
}

fn complete(packet: Packet<'_>) -> Decoded<'_> {
    let content = match packet.kind {
        Kind::Connect(auth) => Content::Connect(auth.map(Cow::Borrowed)),
        Kind::Disconnect => Content::Disconnect,
        Kind::Event { name, args } => Content::Event(name, Args::from_raw(args, Vec::new())),
        Kind::Ack(args) => Content::Ack(Args::from_raw(args, Vec::new())),
        Kind::ConnectError(error) => Content::ConnectError(Cow::Borrowed(error)),
    };
    Decoded { namespace: Cow::Borrowed(packet.namespace), id: packet.id, content }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_an_unfinished_packet_counts_as_held() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.text(r#"52-/space,7["name",1]"#), Ok(None));
        assert_eq!(decoder.held_bytes(), "/space".len() + "name".len() + "1".len());
        assert_eq!(decoder.binary(b"1234", 8), Ok(None));
        assert_eq!(decoder.held_bytes(), "/space".len() + "name".len() + "1".len() + 4);
    }

    #[test]
    fn nothing_is_held_behind_an_error() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.text(r#"51-["a"]"#), Ok(None));
        assert_eq!(decoder.binary(b"123456789", 8), Err(DecodeError::TooLarge));
        assert_eq!(decoder.held_bytes(), 0);

        assert_eq!(decoder.text(r#"51-["a"]"#), Ok(None));
        assert_eq!(decoder.text(r#"2["b"]"#), Err(DecodeError::Unexpected));
        assert_eq!(decoder.held_bytes(), 0);
    }
}
