//! Events of clients that go to the backend.

use std::sync::Arc;

use idae_socket_protocol::socketio::Args;

use super::super::Sockets;
use super::super::client::Client;
use super::{Answer, Reply};
use crate::backend::{ClientEvent, Unanswered};

/// Sends an event to the backend; its answer is the acknowledgement.
pub(super) fn forward(sockets: &Arc<Sockets>, client: &Arc<Client>, name: &str, args: Args<'_>) -> Reply {
    let Some(queued) = sockets.forwarder.queue(&client.turns().forwards, name, &args) else {
        return Reply::Ready(too_much(sockets, client));
    };
    let (sockets, client) = (Arc::clone(sockets), Arc::clone(client));
    let (name, args) = (name.to_owned(), args.into_owned());
    Reply::later(async move {
        let event = ClientEvent {
            name: &name,
            args: &args,
            identity: &client.identity(),
            socket_id: &client.sid.to_string(),
            namespace: &client.namespace,
        };
        // In the order in which the client sent them.
        match sockets.forwarder.forward(&event, queued).await {
            Ok(Some(json)) => Answer::Json(json),
            Ok(None) => Answer::Status { status: "OK" },
            Err(Unanswered { code, detail }) => {
                sockets.metrics.refused(code);
                if code == "forward_busy" {
                    sockets.metrics.limit("forward_waiting");
                }
                Answer::error(code, Some(detail))
            }
        }
    })
}

/// Too many bytes of a client wait already.
fn too_much(sockets: &Sockets, client: &Client) -> Answer {
    const CODE: &str = "forward_busy";
    sockets.metrics.refused(CODE);
    sockets.metrics.limit("forward_bytes");
    tracing::warn!(sid = %client.sid, code = CODE, "an event was not forwarded: too many bytes of this socket wait for their turn");
    Answer::error(CODE, Some("too many bytes wait to be sent to the backend".to_owned()))
}
