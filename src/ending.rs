//! Being told to end: Ctrl-C, or SIGTERM as Kubernetes and process managers send it.

use std::io;

/// Listens for it from its creation on, so that nothing is missed while something else is waited for.
#[derive(Debug)]
pub struct Ending {
    #[cfg(unix)]
    signals: [tokio::signal::unix::Signal; 2],
}

#[cfg(unix)]
impl Ending {
    /// Begins to listen; inside a tokio runtime.
    pub fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let signals = [
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        ];
        Ok(Self { signals })
    }

    /// Waits to be told, once more each time it is called.
    pub async fn asked(&mut self) {
        let [terminate, interrupt] = &mut self.signals;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

#[cfg(not(unix))]
impl Ending {
    /// Begins to listen; inside a tokio runtime.
    pub const fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Waits to be told, once more each time it is called.
    pub async fn asked(&mut self) {
        // Where there is no Ctrl-C to listen for, the process ends as the system has it.
        let _ = tokio::signal::ctrl_c().await;
    }
}
