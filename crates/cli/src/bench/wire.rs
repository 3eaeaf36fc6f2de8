//! How sockets join and events are published: as the gateway wants it, or plainly.
//!
//! The plain way is for `bench/` in the repository, which puts the gateway beside servers that know WebSockets and
//! no Socket.IO. There a socket is in its rooms as soon as it is open, because its path names them, and a path may
//! name the room of an event too. Nobody else needs it, so its options are hidden.

use std::borrow::Cow;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Wire {
    /// The path of a plain WebSocket; `{socket}` in it is the socket's number, from 0.
    #[arg(long, value_name = "PATH", hide = true, requires = "url")]
    plain: Option<String>,
    /// Where payloads are POSTed without anything around them; `{room}` in it is the room.
    #[arg(long, value_name = "PATH", hide = true, requires = "plain")]
    publish_path: Option<String>,
}

impl Wire {
    pub(crate) const fn is_plain(&self) -> bool {
        self.plain.is_some()
    }

    pub(crate) fn socket_path(&self, number: usize) -> Cow<'static, str> {
        match &self.plain {
            Some(path) => path.replace("{socket}", &number.to_string()).into(),
            None => "/socket.io/?EIO=4&transport=websocket".into(),
        }
    }

    /// The path and the body of a POST.
    pub(crate) fn publication(&self, room: &str, payload: String) -> (Cow<'static, str>, String) {
        match &self.publish_path {
            Some(path) => (path.replace("{room}", room).into(), payload),
            None => ("/bench".into(), format!(r#"{{"rooms":["{room}"],"payload":{payload}}}"#)),
        }
    }
}
