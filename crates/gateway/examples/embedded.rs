//! The gateway inside another program: a handler for a client event, and events published in process.

use std::time::Duration;

use idae_socket::{Args, HttpDriver, Socket};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let gateway = HttpDriver::new()
        .on_connect(|socket: Socket, _auth: &str| {
            socket.join("clock");
        })
        .on("double", |_socket: Socket, args: Args<'static>| async move {
            let answer =
                args.first::<f64>().map_or(json!({ "error": "send a number" }), |number| json!(number * 2.0));
            Args::one(&answer).unwrap_or_default()
        })
        .start(4000)
        .await?;
    for tick in 0_u64.. {
        gateway.to_room("clock", "tick", &json!({ "tick": tick })).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}
