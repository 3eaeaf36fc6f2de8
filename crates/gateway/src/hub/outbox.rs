//! What waits to be sent to one client, and the way out for it.

use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice};
use std::sync::Arc;

use idae_socket_protocol::engineio::{SEPARATOR, push_base64};
use idae_socket_protocol::websocket::{Frame, Opcode};
use parking_lot::Mutex;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Frames handed to the kernel with one `writev`; more bring nothing (Linux takes 1,024).
const FRAMES_PER_WRITE: usize = 64;

/// Packets in the answer to one poll. python-engineio refuses a payload with more of them.
const PACKETS_PER_POLL_MAX: u16 = 16;

/// Bytes in the answer to one poll, unless a single packet is larger. Compressing more would hold up the thread.
const POLL_BYTES_MAX: usize = 1024 * 1024;

/// Packets in the answer to one poll of a client that can be recovered, which is one that takes as many as come.
/// What it missed should arrive in one piece with the packet that ends it.
const PACKETS_PER_POLL_RECOVERED: u16 = u16::MAX;

/// What a waiting frame costs besides its bytes: its place in the queue and its allocation. Without
/// it a thousand tiny frames would count for nothing.
const FRAME_OVERHEAD_BYTES: usize = 64;

/// The frames that wait for one client, in order, whatever its transport.
///
/// A frame is kept as WebSocket wants it; polling sends its payload. So a session can change its
/// transport with frames waiting, and an event is encoded once for both.
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    /// Wakes the session's task (WebSocket) or its pending poll.
    changed: Notify,
}

struct Queue {
    frames: VecDeque<Frame>,
    /// What all frames that wait cost.
    bytes: usize,
    /// What of these bytes was replayed: it has a limit of its own and does not make a client slow.
    replayed: usize,
    /// How much of the first frame the kernel has taken.
    written: usize,
    /// Bytes put here by a fan-out that the sweep has not come by for yet.
    unswept: usize,
    way: Way,
    /// Packets in the answer to one poll.
    packets_per_poll: u16,
    /// In the shard's list of sockets to be swept.
    dirty: bool,
    standing: Standing,
}

/// How frames leave.
enum Way {
    /// The next poll takes them; one may be waiting. If none comes there is nobody who would see that too much
    /// waits, so somebody is called.
    Poll { is_waited_for: bool, on_overflow: Option<Box<dyn Fn() + Send + Sync>> },
    /// They are written as soon as the kernel takes them. While its buffer is full the session's
    /// task waits for room.
    Stream { stream: OwnedWriteHalf, is_full: bool },
}

/// What the session's task has to know of its outbox.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Status {
    pub(crate) standing: Standing,
    pub(crate) is_empty: bool,
    /// The kernel's buffer is full: wait for room, then [`Outbox::resume`].
    pub(crate) is_full: bool,
}

/// Whether frames are still taken, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Open,
    /// The session ends; what waits is still sent.
    Shut,
    /// More than the limit was waiting. What waited is gone.
    Overflowed,
    /// The connection failed. What waited is gone.
    Failed,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It is on its way or waits for it.
    Taken,
    /// As before; the sweep has to come by.
    TakenDirty,
    /// A volatile frame that could not be sent now, or the session has ended.
    Dropped,
}

impl Outbox {
    pub(crate) fn polling() -> Arc<Self> {
        Self::new(Way::Poll { is_waited_for: false, on_overflow: None })
    }

    pub(crate) fn streaming(stream: OwnedWriteHalf) -> Arc<Self> {
        Self::new(Way::Stream { stream, is_full: false })
    }

    /// Calls somebody when more waits for polls than may. It must only leave a note, because a fan-out goes on.
    pub(crate) fn on_overflow(&self, call: impl Fn() + Send + Sync + 'static) {
        if let Way::Poll { on_overflow, .. } = &mut self.queue.lock().way {
            *on_overflow = Some(Box::new(call));
        }
    }

    /// One that takes nothing.
    pub(crate) fn closed() -> Arc<Self> {
        let outbox = Self::polling();
        outbox.abandon();
        outbox
    }

    fn new(way: Way) -> Arc<Self> {
        let queue = Queue {
            frames: VecDeque::new(),
            bytes: 0,
            replayed: 0,
            written: 0,
            unswept: 0,
            way,
            packets_per_poll: PACKETS_PER_POLL_MAX,
            dirty: false,
            standing: Standing::Open,
        };
        Arc::new(Self { queue: Mutex::new(queue), changed: Notify::new() })
    }

    /// Queues a frame of the session itself; [`Outbox::flush`] sends it.
    pub(crate) fn push(&self, frame: Frame, bytes_max: usize) -> Pushed {
        let mut queue = self.queue.lock();
        let pushed = queue.push(frame, bytes_max);
        if queue.standing == Standing::Overflowed {
            self.changed.notify_one();
        }
        pushed
    }

    /// Queues frames that belong together: nothing gets between them, and all or none are queued.
    pub(crate) fn push_all(&self, frames: Vec<Frame>, bytes_max: usize) -> Pushed {
        let mut queue = self.queue.lock();
        let mut pushed = Pushed::Taken;
        for frame in frames {
            pushed = queue.push(frame, bytes_max);
        }
        if queue.standing == Standing::Overflowed {
            self.changed.notify_one();
        }
        pushed
    }

    /// Queues what a client missed, which has a limit of its own.
    pub(crate) fn replay(&self, frames: impl IntoIterator<Item = Frame>) {
        let mut queue = self.queue.lock();
        queue.packets_per_poll = PACKETS_PER_POLL_RECOVERED;
        for frame in frames {
            if queue.standing != Standing::Open {
                return;
            }
            queue.bytes += cost(&frame);
            queue.replayed += cost(&frame);
            queue.frames.push_back(frame);
        }
    }

    /// Sends what waits, as far as the kernel takes it, or tells the pending poll.
    pub(crate) fn flush(&self) {
        let mut queue = self.queue.lock();
        if queue.flush() {
            self.changed.notify_one();
        }
    }

    /// Queues an event's frame and sends it at once if nothing waits before it.
    pub(crate) fn send(&self, frame: &Frame, volatile: bool, bytes_max: usize) -> Pushed {
        let mut queue = self.queue.lock();
        if volatile && !queue.is_ready(frame, bytes_max) {
            return Pushed::Dropped;
        }
        let taken = queue.write_through(frame, bytes_max);
        if taken == frame.len() {
            return Pushed::Taken;
        }
        let pushed = queue.push(frame.clone(), bytes_max);
        if taken > 0 {
            queue.written = taken;
        }
        if queue.flush() || queue.standing == Standing::Overflowed {
            self.changed.notify_one();
        }
        pushed
    }

    /// Queues an event's frame for the sweep.
    pub(super) fn put(&self, frame: &Frame, volatile: bool, bytes_max: usize) -> Pushed {
        let mut queue = self.queue.lock();
        if volatile && !queue.is_ready(frame, bytes_max) {
            return Pushed::Dropped;
        }
        let pushed = queue.push(frame.clone(), bytes_max);
        if queue.standing == Standing::Overflowed {
            self.changed.notify_one();
        }
        if pushed == Pushed::Dropped {
            return pushed;
        }
        queue.unswept += frame.len();
        if std::mem::replace(&mut queue.dirty, true) { Pushed::Taken } else { Pushed::TakenDirty }
    }

    /// The sweep comes by. Returns how many bytes it had been called for.
    pub(super) fn sweep(&self) -> usize {
        let mut queue = self.queue.lock();
        queue.dirty = false;
        if queue.flush() {
            self.changed.notify_one();
        }
        std::mem::take(&mut queue.unswept)
    }

    /// The first of what waits as the body of a poll, or `None` if nothing does and the poll has to wait.
    pub(crate) fn take_payload(&self) -> Option<Vec<u8>> {
        let mut queue = self.queue.lock();
        let is_empty = queue.frames.is_empty();
        match &mut queue.way {
            Way::Poll { is_waited_for, .. } => *is_waited_for = is_empty,
            Way::Stream { .. } => return None,
        }
        // The last packet of a session that ends comes alone: the stock client handles the end of
        // its transport before the packets that came with it.
        let is_ending = queue.standing == Standing::Shut && queue.frames.len() > 1;
        let most = (queue.frames.len() - usize::from(is_ending)).min(queue.packets_per_poll.into());
        let mut bytes = 0;
        let fitting = queue.frames.iter().take(most).take_while(|frame| {
            bytes += frame.len();
            bytes <= POLL_BYTES_MAX
        });
        let count = fitting.count().max(most.min(1));
        let frames: Vec<Frame> = queue.frames.drain(..count).collect();
        let capacity = frames.iter().map(cost).sum();
        queue.bytes -= capacity;
        queue.replayed = queue.replayed.saturating_sub(capacity);
        drop(queue);
        if frames.is_empty() {
            return None;
        }
        let mut body = Vec::with_capacity(capacity);
        for frame in frames {
            if !body.is_empty() {
                body.push(SEPARATOR);
            }
            match frame.opcode() {
                Opcode::Binary => push_base64(&frame.payload(), &mut body),
                _ => body.extend_from_slice(&frame.payload()),
            }
        }
        Some(body)
    }

    /// From now on frames leave by this stream, those that wait first.
    pub(crate) fn upgrade(&self, stream: OwnedWriteHalf) {
        let mut queue = self.queue.lock();
        queue.way = Way::Stream { stream, is_full: false };
        queue.flush();
        drop(queue);
        // The pending poll has to end.
        self.changed.notify_waiters();
    }

    /// The poll that waited has been answered with nothing.
    pub(crate) fn stop_waiting(&self) {
        if let Way::Poll { is_waited_for, .. } = &mut self.queue.lock().way {
            *is_waited_for = false;
        }
    }

    /// Wakes the pending poll to look at its session.
    pub(crate) fn nudge(&self) {
        self.changed.notify_one();
    }

    /// Takes no more frames; `last` is the last to be sent.
    pub(crate) fn shut(&self, last: Option<Frame>) {
        let mut queue = self.queue.lock();
        if queue.standing != Standing::Open {
            return;
        }
        if let Some(frame) = last {
            queue.bytes += cost(&frame);
            queue.frames.push_back(frame);
        }
        queue.standing = Standing::Shut;
        queue.flush();
        drop(queue);
        // Whoever waits, task or poll, has to see it; one that comes later looks before it waits.
        self.changed.notify_waiters();
        self.changed.notify_one();
    }

    /// Lets the connection go. What waits is lost.
    pub(crate) fn abandon(&self) {
        let mut queue = self.queue.lock();
        queue.give_up(Standing::Failed);
        queue.way = Way::Poll { is_waited_for: false, on_overflow: None };
        drop(queue);
        self.changed.notify_waiters();
    }

    pub(crate) fn status(&self) -> Status {
        let queue = self.queue.lock();
        Status {
            standing: queue.standing,
            is_empty: queue.frames.is_empty(),
            is_full: matches!(queue.way, Way::Stream { is_full: true, .. }),
        }
    }

    /// The kernel has room again.
    pub(crate) fn resume(&self) {
        let mut queue = self.queue.lock();
        if let Way::Stream { is_full, .. } = &mut queue.way {
            *is_full = false;
        }
        queue.flush();
    }

    /// Resolves when a poll can be answered, the kernel's buffer is full, or the session ends.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }
}

impl Queue {
    fn push(&mut self, frame: Frame, bytes_max: usize) -> Pushed {
        if self.standing != Standing::Open {
            return Pushed::Dropped;
        }
        if self.bytes - self.replayed + cost(&frame) > bytes_max {
            self.give_up(Standing::Overflowed);
            if let Way::Poll { on_overflow: Some(call), .. } = &self.way {
                call();
            }
            return Pushed::Dropped;
        }
        self.bytes += cost(&frame);
        if self.frames.capacity() == 0 {
            // One place instead of four is all that an idle socket ever needs.
            self.frames.reserve_exact(1);
        }
        self.frames.push_back(frame);
        Pushed::Taken
    }

    /// Whether the client can take a frame now: its poll waits, or the kernel has room for more
    /// than what the next sweep brings.
    fn is_ready(&self, frame: &Frame, bytes_max: usize) -> bool {
        match &self.way {
            Way::Poll { is_waited_for, .. } => *is_waited_for && self.frames.is_empty(),
            Way::Stream { is_full, .. } => !is_full && self.bytes - self.replayed + cost(frame) <= bytes_max,
        }
    }

    /// Writes what waits. Returns whether somebody has to be told.
    fn flush(&mut self) -> bool {
        match &mut self.way {
            Way::Poll { .. } => return !self.frames.is_empty(),
            Way::Stream { is_full: true, .. } => return false,
            Way::Stream { .. } => {}
        }
        match self.write() {
            Ok(()) => false,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if let Way::Stream { is_full, .. } = &mut self.way {
                    *is_full = true;
                }
                true
            }
            Err(_) => {
                self.give_up(Standing::Failed);
                true
            }
        }
    }

    /// Writes a frame before which nothing waits without queueing it, which is how nearly all leave. Returns how many
    /// bytes the kernel has taken; the queue, in which there is room for it then, does the rest and sees the errors.
    fn write_through(&self, frame: &Frame, bytes_max: usize) -> usize {
        match &self.way {
            Way::Stream { stream, is_full: false }
                if self.frames.is_empty() && self.standing == Standing::Open && cost(frame) <= bytes_max =>
            {
                stream.try_write(frame.as_bytes()).unwrap_or(0)
            }
            _ => 0,
        }
    }

    fn write(&mut self) -> std::io::Result<()> {
        let Way::Stream { stream, .. } = &self.way else { return Ok(()) };
        while let Some(first) = self.frames.front() {
            let first = &first.as_bytes()[self.written..];
            let taken = if self.frames.len() == 1 {
                stream.try_write(first)?
            } else {
                let mut slices = [IoSlice::new(&[]); FRAMES_PER_WRITE];
                slices[0] = IoSlice::new(first);
                let mut count = 1;
                for (slice, frame) in slices[1..].iter_mut().zip(self.frames.iter().skip(1)) {
                    *slice = IoSlice::new(frame.as_bytes());
                    count += 1;
                }
                stream.try_write_vectored(&slices[..count])?
            };
            let before = self.bytes;
            advance(&mut self.frames, &mut self.written, &mut self.bytes, taken);
            // They stand in front, so they leave first.
            self.replayed = self.replayed.saturating_sub(before - self.bytes);
        }
        // A queue that was long once must not stay large for the life of the socket.
        if self.frames.capacity() > 8 {
            self.frames = VecDeque::new();
        }
        Ok(())
    }

    fn give_up(&mut self, standing: Standing) {
        self.standing = standing;
        self.frames = VecDeque::new();
        self.bytes = 0;
        self.replayed = 0;
        self.written = 0;
    }
}

/// What a waiting frame counts against a limit, in bytes.
pub(crate) fn cost(frame: &Frame) -> usize {
    frame.len() + FRAME_OVERHEAD_BYTES
}

/// Forgets what the kernel has taken.
fn advance(frames: &mut VecDeque<Frame>, written: &mut usize, bytes: &mut usize, mut taken: usize) {
    while let Some(first) = frames.front() {
        let left = first.len() - *written;
        if taken < left {
            *written += taken;
            return;
        }
        taken -= left;
        *bytes -= cost(first);
        *written = 0;
        frames.pop_front();
    }
}
