//! Events of clients that go to the backend.

use std::sync::Arc;

use idae_socket_protocol::socketio::Args;

use super::super::Sockets;
use super::super::client::Client;
use super::{Answer, Reply};
use crate::backend::{ClientEvent, Unanswered};

/// Sends an event to the backend; its answer is the acknowledgement.
pub(super) fn forward(sockets: &Arc<Sockets>, client: &Arc<Client>, name: &str, args: Args<'_>) -> Reply {
    let (sockets, client) = (Arc::clone(sockets), Arc::clone(client));
    let (name, args) = (name.to_owned(), args.into_owned());
    let turns = client.turns();
    Reply::later(async move {
        let event = ClientEvent {
            name: &name,
            args: &args,
            identity: &client.identity(),
            socket_id: &client.sid.to_string(),
            namespace: &client.namespace,
        };
        // In the order in which the client sent them.
        match sockets.forwarder.forward(&event, &turns.forwards).await {
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
