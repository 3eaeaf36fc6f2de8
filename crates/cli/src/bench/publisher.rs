//! The backend's side: POSTs at a pace, or as fast as they are answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::recorder::Recorder;
use super::wire::Wire;
use super::{Failure, Unreachable};
use crate::publish::Problem;

/// POSTs of a paced phase that may wait for their answers; one more waits for one of them.
const WAITING_MAX: usize = 64;

/// Publishes events that carry the time.
#[derive(Clone)]
pub(crate) struct Publisher {
    address: SocketAddr,
    authorization: Option<Arc<str>>,
    padding: Arc<str>,
    wire: Arc<Wire>,
    clock: Arc<Recorder>,
}

type Connection = SendRequest<Full<Bytes>>;

impl Publisher {
    pub(crate) fn new(
        address: SocketAddr,
        key: Option<&str>,
        size: usize,
        wire: &Wire,
        clock: &Arc<Recorder>,
    ) -> Self {
        Self {
            address,
            authorization: key.map(|key| format!("Bearer {key}").into()),
            padding: "x".repeat(size.saturating_sub(40)).into(),
            wire: Arc::new(wire.clone()),
            clock: Arc::clone(clock),
        }
    }

    /// So many events a second to one room, whether they are answered yet or not. Returns how many.
    pub(crate) async fn paced(
        &self,
        rate: u32,
        time: Duration,
        room: &str,
        phase: u32,
    ) -> Result<u64, Failure> {
        self.at_rate(rate, time, phase, |_| room.to_owned()).await
    }

    /// So many events a second, each to the room of another socket. Returns how many.
    pub(crate) async fn targeted(
        &self,
        rate: u32,
        time: Duration,
        sockets: usize,
        phase: u32,
    ) -> Result<u64, Failure> {
        self.at_rate(rate, time, phase, |number| own_room(number, sockets)).await
    }

    /// Publishers that each wait for an answer before the next event, to the rooms of single sockets.
    /// Returns how many events they made.
    pub(crate) async fn closed(
        &self,
        publishers: usize,
        time: Duration,
        sockets: usize,
        phase: u32,
    ) -> Result<u64, Failure> {
        let end = Instant::now() + time;
        let mut publishing = JoinSet::new();
        for publisher in 0..publishers {
            let this = self.clone();
            publishing.spawn(async move {
                let mut connection = this.connect().await?;
                let mut posts = 0;
                while Instant::now() < end {
                    let room = own_room(publisher as u64 + posts * publishers as u64, sockets);
                    this.post(&mut connection, &room, phase).await?;
                    posts += 1;
                }
                Ok::<u64, Failure>(posts)
            });
        }
        let mut posts = 0;
        while let Some(published) = publishing.join_next().await {
            posts += published??;
        }
        Ok(posts)
    }

    async fn at_rate(
        &self,
        rate: u32,
        time: Duration,
        phase: u32,
        room: impl Fn(u64) -> String,
    ) -> Result<u64, Failure> {
        let begin = Instant::now();
        let pause = Duration::from_secs(1) / rate;
        let mut free: Vec<Connection> = Vec::new();
        let mut posting: JoinSet<Result<Connection, Failure>> = JoinSet::new();
        let mut posts = 0_u64;
        while begin.elapsed() < time {
            sleep_until((begin + pause * posts as u32).into()).await;
            while let Some(done) = posting.try_join_next() {
                free.push(done??);
            }
            if posting.len() >= WAITING_MAX
                && let Some(done) = posting.join_next().await
            {
                free.push(done??);
            }
            let mut connection = match free.pop() {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            let (this, room) = (self.clone(), room(posts));
            posting.spawn(async move {
                this.post(&mut connection, &room, phase).await?;
                Ok(connection)
            });
            posts += 1;
        }
        while let Some(done) = posting.join_next().await {
            done??;
        }
        Ok(posts)
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let stream = TcpStream::connect(self.address).await.map_err(Unreachable)?;
        stream.set_nodelay(true)?;
        let (connection, driver) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(driver);
        Ok(connection)
    }

    async fn post(&self, connection: &mut Connection, room: &str, phase: u32) -> Result<(), Failure> {
        let (now, padding) = (self.clock.micros(), &self.padding);
        let payload = format!(r#"{{"p":{phase},"t":{now},"pad":"{padding}"}}"#);
        let (path, body) = self.wire.publication(room, payload);
        let mut request =
            Request::post(&*path).header("host", "gateway").header("content-type", "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", &**authorization);
        }
        connection.ready().await?;
        let response = connection.send_request(request.body(Full::from(body))?).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if status.is_success() {
            return Ok(());
        }
        let problem: Problem = serde_json::from_slice(&body).unwrap_or_default();
        Err(format!("a publish was refused: {}", problem.describe(status)).into())
    }
}

/// The room of a socket that events have not been to for a while.
fn own_room(number: u64, sockets: usize) -> String {
    // A prime step visits all of them in an order that is no neighbourhood.
    format!("bench:{}", number.wrapping_mul(7_919) % sockets as u64)
}
