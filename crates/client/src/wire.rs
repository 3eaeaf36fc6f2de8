//! Frames on their way out: masked, in one buffer that is written as far as the network takes it.

use std::io;

use idae_socket_protocol::websocket::{Opcode, encode_masked};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

/// Bytes above which nothing more is taken from the queue, and nothing more is read: what the server
/// sends may ask for answers, and a server that does not read them must not fill our memory.
pub(crate) const OUT_BYTES_HIGH: usize = 64 * 1024;

/// Encoded frames that are not written yet.
#[derive(Default)]
pub(crate) struct Out {
    bytes: Vec<u8>,
    written: usize,
    needs_flush: bool,
    is_closed: bool,
}

impl Out {
    pub(crate) fn push(&mut self, opcode: Opcode, payload: &[u8]) {
        // RFC 6455 section 5.5.1: nothing follows a close frame.
        if self.is_closed {
            return;
        }
        // Fresh and unpredictable for each frame, as RFC 6455 section 10.3 demands.
        encode_masked(opcode, payload, rand::random(), &mut self.bytes);
    }

    /// The last frame. The first reason given stays.
    pub(crate) fn close(&mut self, code: Option<u16>) {
        match code {
            Some(code) => self.push(Opcode::Close, &code.to_be_bytes()),
            None => self.push(Opcode::Close, b""),
        }
        self.is_closed = true;
    }

    pub(crate) const fn is_busy(&self) -> bool {
        self.needs_flush || self.written < self.bytes.len()
    }

    pub(crate) const fn is_high(&self) -> bool {
        self.bytes.len() - self.written >= OUT_BYTES_HIGH
    }

    /// Writes a piece, or flushes when all is written. Losing the race in a `select!` loses nothing.
    pub(crate) async fn write_some(&mut self, writer: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        if self.written == self.bytes.len() {
            writer.flush().await?;
            self.needs_flush = false;
            return Ok(());
        }
        let count = writer.write(&self.bytes[self.written..]).await?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.needs_flush = true;
        self.written += count;
        if self.written == self.bytes.len() {
            self.written = 0;
            self.bytes.clear();
            // A burst's buffer is not kept for a quiet connection.
            self.bytes.shrink_to(OUT_BYTES_HIGH);
        }
        Ok(())
    }

    pub(crate) async fn write_all(&mut self, writer: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        while self.is_busy() {
            self.write_some(writer).await?;
        }
        Ok(())
    }
}
