//! Packets of the default parser to packets of msgpack.

use bytes::Bytes;
use rmp::Marker;
use rmp::encode::{
    ValueWriteError, write_array_len, write_bin, write_f64, write_map_len, write_sint, write_str, write_uint,
};

use crate::socketio::decode::{ack_id, namespace};
use crate::socketio::json::{Placeholder, Tokens, containers, string_lossy};

/// Writes a message of the default parser as msgpack: one of [`event`](super::super::event) and the functions beside
/// it, type character `4` included. The result is an Engine.IO message without type character; it is empty if the
/// message is none of those.
///
/// The attachments stand where their placeholders stood. Numbers without fraction or exponent become integers; what
/// is neither `i64` nor `u64` becomes `f64`. A lone surrogate, which MessagePack cannot hold, becomes U+FFFD.
pub fn repack(message: &str, attachments: &[Bytes]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + attachments.iter().map(Bytes::len).sum::<usize>() + 32);
    if let Some(parts) = Parts::of(message) {
        // Writing to a vector cannot fail.
        let _ = parts.write(attachments, &mut out);
    }
    out
}

/// A packet of the default parser.
struct Parts<'a> {
    kind: u8,
    namespace: &'a str,
    id: Option<u64>,
    data: &'a str,
}

impl<'a> Parts<'a> {
    fn of(message: &'a str) -> Option<Self> {
        let rest = message.strip_prefix('4')?;
        let (kind, rest) = rest.split_at_checked(1)?;
        let (kind, rest) = match kind {
            // Binary or not is no matter of the type here.
            "5" => (2, rest.split_once('-')?.1),
            "6" => (3, rest.split_once('-')?.1),
            kind => (kind.parse().ok()?, rest),
        };
        let (namespace, rest) = namespace(rest);
        let (id, data) = ack_id(rest).ok()?;
        Some(Self { kind, namespace, id, data })
    }

    fn write(&self, attachments: &[Bytes], out: &mut Vec<u8>) -> Result<(), ValueWriteError> {
        let keys = 2 + u32::from(!self.data.is_empty()) + u32::from(self.id.is_some());
        write_map_len(out, keys)?;
        write_str(out, "type")?;
        write_uint(out, self.kind.into())?;
        // What is absent has no key: the stock client takes nil for a value.
        if !self.data.is_empty() {
            write_str(out, "data")?;
            write_json(self.data, attachments, out)?;
        }
        if let Some(id) = self.id {
            write_str(out, "id")?;
            write_uint(out, id)?;
        }
        write_str(out, "nsp")?;
        write_str(out, self.namespace)
    }
}

/// Writes a valid JSON text. Containers know their length only at their end, so they were counted before.
fn write_json(json: &str, attachments: &[Bytes], out: &mut Vec<u8>) -> Result<(), ValueWriteError> {
    let containers = containers(json);
    let mut containers = containers.iter();
    let mut tokens = Tokens::of(json);
    while let Some(token) = tokens.next() {
        match token.as_bytes() {
            [bracket @ (b'{' | b'['), ..] => {
                let Some(container) = containers.next() else { continue };
                match container.placeholder {
                    Placeholder::Of(num) if (num as usize) < attachments.len() => {
                        write_bin(out, &attachments[num as usize])?;
                        while tokens.end() < container.end {
                            if tokens.next().is_some_and(|token| token.starts_with(['{', '['])) {
                                containers.next();
                            }
                        }
                    }
                    _ if *bracket == b'{' => write_map_len(out, container.len).map(drop)?,
                    _ => write_array_len(out, container.len).map(drop)?,
                }
            }
            [b'"', ..] => write_str(out, &string_lossy(token))?,
            [b't', ..] => out.push(Marker::True.to_u8()),
            [b'f', ..] => out.push(Marker::False.to_u8()),
            [b'n', ..] => out.push(Marker::Null.to_u8()),
            [b'-' | b'0'..=b'9', ..] => write_number(token, out)?,
            // What separates values has no place in MessagePack.
            _ => {}
        }
    }
    Ok(())
}

fn write_number(number: &str, out: &mut Vec<u8>) -> Result<(), ValueWriteError> {
    if let Ok(integer) = number.parse::<i64>() {
        write_sint(out, integer)?;
    } else if let Ok(integer) = number.parse::<u64>() {
        write_uint(out, integer)?;
    } else {
        // Beyond `f64` is infinity, as for a reader of JSON in JavaScript.
        write_f64(out, number.parse().unwrap_or(f64::NAN))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sid;
    use crate::socketio::{Args, ack, connect, connect_error, disconnect, event};

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn packets_have_the_bytes_that_the_stock_parser_reads() {
        let sid = Sid::from_bytes([0; 15]);
        let one = Args::list(&(1,)).unwrap();
        let bytes = Args::binary(&b"\x01\x02\x03"[..]);
        for (message, attachments, expected) in [
            (
                connect("/", &sid, None),
                &[][..],
                "83a47479706500a46461746181a3736964b44141414141414141414141414141414141414141a36e7370a12f",
            ),
            (event("/", None, "hi", &one), &[], "83a47479706502a46461746192a2686901a36e7370a12f"),
            (
                event("/admin", Some(0), "hi", &Args::none()),
                &[],
                "84a47479706502a46461746191a26869a2696400a36e7370a62f61646d696e",
            ),
            (
                event("/", None, "b", &bytes),
                bytes.attachments(),
                "83a47479706502a46461746192a162c403010203a36e7370a12f",
            ),
            (ack("/", 0, &one), &[], "84a47479706503a4646174619101a2696400a36e7370a12f"),
            (disconnect("/"), &[], "82a47479706501a36e7370a12f"),
            (disconnect("/n"), &[], "82a47479706501a36e7370a22f6e"),
            (
                connect_error("/", "no", None),
                &[],
                "83a47479706504a46461746181a76d657373616765a26e6fa36e7370a12f",
            ),
        ] {
            assert_eq!(hex(&repack(&message, attachments)), expected, "{message}");
        }
    }

    #[track_caller]
    fn check(json: &str, expected: &str) {
        let mut out = Vec::new();
        write_json(json, &[Bytes::from_static(b"\xff")], &mut out).unwrap();
        assert_eq!(hex(&out), expected, "{json}");
    }

    #[test]
    fn values() {
        check("[ ]", "90");
        check("{ }", "80");
        check("[true,false,null]", "93c3c2c0");
        check("[-0,127,128,-32,-33]", "95007fcc80e0d0df");
        check("18446744073709551615", "cfffffffffffffffff");
        check("-9223372036854775808", "d38000000000000000");
        check("1.0", "cb3ff0000000000000");
        check("1e2", "cb4059000000000000");
        check("1e400", "cb7ff0000000000000");
        check("18446744073709551616", "cb43f0000000000000");
        check(r#""\u00e9\n""#, "a3c3a90a");
        check(r#"{"a":{"b":[1,{"c":[]}]}}"#, "81a16181a1629201 81a16390".replace(' ', "").as_str());
        check(r#"{"":""}"#, "81a0a0");
    }

    #[test]
    fn attachments_stand_where_their_placeholders_stood() {
        let placeholder = r#"{"_placeholder":true,"num":0}"#;
        check(placeholder, "c401ff");
        check(&format!("[{placeholder},[{placeholder}],1]"), "93c401ff91c401ff01");
        check(r#"[{"_placeholder":true,"num":0,"more":[{}]},{}]"#, "92c401ff80");
        // One that names no attachment is data.
        check(r#"{"_placeholder":true,"num":1}"#, "82ac5f706c616365686f6c646572c3a36e756d01");
    }

    #[test]
    fn what_is_no_packet_becomes_nothing() {
        for message in ["", "4", "2", "4x", "45", "4é", "429007199254740992[]"] {
            assert_eq!(repack(message, &[]), b"", "{message}");
        }
    }

    #[test]
    fn depth_does_not_overflow() {
        let deep = format!("42[\"x\",{}{}]", "[".repeat(100_000), "]".repeat(100_000));
        assert!(repack(&deep, &[]).len() > 100_000);
    }
}
