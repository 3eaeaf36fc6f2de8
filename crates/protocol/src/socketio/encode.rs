//! Packets to text, byte for byte as the reference writes them.
//!
//! The result is a whole Engine.IO message, type character `4` included. Attachments follow it as
//! binary messages, in order and with nothing between.

use std::fmt::Write as _;

use super::Args;
use crate::Sid;

/// What stands for a namespace in a packet: nothing for `/`, else `/name,`.
pub fn namespace_prefix(namespace: &str) -> String {
    if namespace == "/" { String::new() } else { format!("{namespace},") }
}

/// The server's answer to CONNECT: the client is in. With a `pid` it may come back after a loss.
pub fn connect(namespace: &str, sid: &Sid, pid: Option<&str>) -> String {
    let prefix = namespace_prefix(namespace);
    match pid {
        None => format!(r#"40{prefix}{{"sid":"{sid}"}}"#),
        Some(pid) => format!(r#"40{prefix}{{"sid":"{sid}","pid":"{pid}"}}"#),
    }
}

/// The server's answer to CONNECT: the client is not let in. `data` is JSON.
pub fn connect_error(namespace: &str, message: &str, data: Option<&str>) -> String {
    let mut text = format!("44{}{{\"message\":", namespace_prefix(namespace));
    push_json_string(message, &mut text);
    if let Some(data) = data {
        text.push_str(",\"data\":");
        text.push_str(data);
    }
    text.push('}');
    text
}

/// The sender leaves the namespace.
pub fn disconnect(namespace: &str) -> String {
    format!("41{}", namespace_prefix(namespace))
}

/// An event; with an `id` the receiver is asked to acknowledge it.
pub fn event(namespace: &str, id: Option<u64>, name: &str, args: &Args<'_>) -> String {
    let mut text = head(['2', '5'], namespace, id, args);
    push_json_string(name, &mut text);
    if !args.is_empty() {
        text.push(',');
        text.push_str(args.items());
    }
    text.push(']');
    text
}

/// The acknowledgement of the event that carried `id`.
pub fn ack(namespace: &str, id: u64, args: &Args<'_>) -> String {
    let mut text = head(['3', '6'], namespace, Some(id), args);
    text.push_str(args.items());
    text.push(']');
    text
}

fn head([plain, binary]: [char; 2], namespace: &str, id: Option<u64>, args: &Args<'_>) -> String {
    let mut text = String::with_capacity(args.items().len() + namespace.len() + 48);
    text.push('4');
    match args.attachments().len() {
        0 => text.push(plain),
        count => {
            text.push(binary);
            push_number(count as u64, &mut text);
            text.push('-');
        }
    }
    if namespace != "/" {
        text.push_str(namespace);
        text.push(',');
    }
    if let Some(id) = id {
        push_number(id, &mut text);
    }
    text.push('[');
    text
}

fn push_number(number: u64, text: &mut String) {
    // Writing to a String cannot fail.
    let _ = write!(text, "{number}");
}

pub(super) fn push_json_string(value: &str, text: &mut String) {
    let plain = value.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\');
    if plain {
        text.push('"');
        text.push_str(value);
        text.push('"');
    } else {
        // Text can always be written.
        text.push_str(&serde_json::to_string(value).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_written_as_the_reference_writes_them() {
        let sid = Sid::from_bytes([0; 15]);
        let two = Args::list(&(1, "2")).unwrap();
        assert_eq!(connect("/", &sid, None), r#"40{"sid":"AAAAAAAAAAAAAAAAAAAA"}"#);
        assert_eq!(connect("/custom", &sid, None), r#"40/custom,{"sid":"AAAAAAAAAAAAAAAAAAAA"}"#);
        assert_eq!(connect("/", &sid, Some("p")), r#"40{"sid":"AAAAAAAAAAAAAAAAAAAA","pid":"p"}"#);
        assert_eq!(
            connect_error("/random", "Invalid namespace", None),
            r#"44/random,{"message":"Invalid namespace"}"#
        );
        assert_eq!(
            connect_error("/", "a\"b", Some(r#"{"code":"x"}"#)),
            r#"44{"message":"a\"b","data":{"code":"x"}}"#
        );
        assert_eq!(disconnect("/"), "41");
        assert_eq!(disconnect("/admin"), "41/admin,");
        assert_eq!(event("/", None, "hi", &two), r#"42["hi",1,"2"]"#);
        assert_eq!(event("/admin", Some(0), "hi", &Args::none()), r#"42/admin,0["hi"]"#);
        assert_eq!(event("/", None, "a\n\"é", &Args::none()), r#"42["a\n\"é"]"#);
        assert_eq!(ack("/", 456, &two), r#"43456[1,"2"]"#);
        assert_eq!(ack("/", 1, &Args::none()), "431[]");
        let binary = Args::binary(&b"x"[..]);
        assert_eq!(event("/", None, "b", &binary), r#"451-["b",{"_placeholder":true,"num":0}]"#);
        assert_eq!(ack("/n", 789, &binary), r#"461-/n,789[{"_placeholder":true,"num":0}]"#);
    }
}
