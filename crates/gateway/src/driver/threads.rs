//! The gateway's own threads: one per core, each with a runtime of its own.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

/// Threads that run tasks until they are told to stop. A shard's tasks all run on one of them, so
/// what they share is rarely fought over.
pub(super) struct Threads {
    pub(super) handles: Arc<[Handle]>,
    threads: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

impl Threads {
    pub(super) fn start(count: usize) -> io::Result<Self> {
        let (stop, _) = watch::channel(false);
        let mut threads = Vec::with_capacity(count);
        let mut handles = Vec::with_capacity(count);
        for number in 0..count {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            handles.push(runtime.handle().clone());
            let mut stopped = stop.subscribe();
            let thread =
                std::thread::Builder::new().name(format!("idae-shard-{number}")).spawn(move || {
                    // An error means that the gateway was dropped.
                    let _ = runtime.block_on(stopped.wait_for(|stopped| *stopped));
                    // Tasks that are left are dropped with the runtime.
                })?;
            threads.push(thread);
        }
        Ok(Self { handles: handles.into(), threads, stop })
    }

    /// Ends the threads and with them every task. Blocks until they are gone.
    pub(super) fn stop(self) {
        self.stop.send_replace(true);
        for thread in self.threads {
            // A thread that panicked is gone as well.
            let _ = thread.join();
        }
    }
}
