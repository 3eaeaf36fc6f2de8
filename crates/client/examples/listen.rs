//! Prints the events of one room: `cargo run -p idae-socket-client --example listen -- public:news`.

use std::error::Error;
use std::time::Duration;

use idae_socket_client::{Args, SocketDriver};

#[tokio::main]
#[allow(clippy::print_stdout, reason = "an example has a terminal")]
async fn main() -> Result<(), Box<dyn Error>> {
    let room = std::env::args().nth(1).unwrap_or_else(|| "admin".to_owned());
    let wanted = Args::one(&room)?;

    // A connection that is not recovered is in no room: subscribing belongs to connecting.
    let socket = SocketDriver::new("http://127.0.0.1:4000")
        .on_any(|event, args| println!("{event}: {}", args.items()))
        .on_disconnect(|reason| println!("disconnected: {reason}"))
        .on_connect(move |connected| {
            if connected.recovered {
                return;
            }
            let (socket, wanted) = (connected.socket, wanted.clone());
            tokio::spawn(async move {
                match socket.emit_with_ack("subscribe", &wanted, Duration::from_secs(5)).await {
                    Ok(answer) => println!("subscribed: {}", answer.items()),
                    Err(error) => println!("not subscribed: {error}"),
                }
            });
        })
        .connect()
        .await?;

    tokio::select! {
        error = socket.inactive() => println!("{error}"),
        _ = tokio::signal::ctrl_c() => socket.close().await,
    }
    Ok(())
}
