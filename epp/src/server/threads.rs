//! Threads of connections, each with a runtime of its own.
//!
//! A request is a conversation between two tasks, its connection's and its own, that wake each other with every message
//! and, by what HTTP/2's flow control does, also themselves. On a runtime of many threads that wakes an idle thread each
//! time, to find nothing, between the decision and its answer; and while one thread is busy nobody asks the system what
//! has come for the others. Here all tasks of a connection stay where it is. Proxies keep a connection for each of their
//! own threads, so these get about the same.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::thread;

use tokio::net::TcpStream;
use tokio::runtime::{self, Handle};
use tokio::sync::mpsc;

type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;
type Begin = Box<dyn FnOnce() -> Serving + Send>;

/// Threads that take connections in turn. They end when this is dropped, and what they serve with them.
pub(crate) struct Threads {
    senders: Vec<mpsc::UnboundedSender<Begin>>,
    next: usize,
}

impl Threads {
    /// As many as the runtime that this is called on has.
    pub(crate) fn start() -> io::Result<Self> {
        let count = Handle::current().metrics().num_workers();
        let senders = (0..count).map(|_| start());
        Ok(Self {
            senders: senders.collect::<Result<_, _>>()?,
            next: 0,
        })
    }

    /// Has the next thread serve a connection.
    pub(crate) fn serve<F>(
        &mut self,
        stream: TcpStream,
        serve: impl FnOnce(TcpStream) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        self.next = (self.next + 1) % self.senders.len();
        // It belongs to the runtime that took it, and no other.
        let moved = stream.into_std().map(|stream| -> Begin {
            Box::new(move || match TcpStream::from_std(stream) {
                Ok(stream) => Box::pin(serve(stream)),
                Err(error) => Box::pin(async move { lost(&error) }),
            })
        });
        match moved {
            // A thread ends with the last sender, and not before.
            Ok(begin) => drop(self.senders[self.next].send(begin)),
            Err(error) => lost(&error),
        }
    }
}

fn lost(error: &io::Error) {
    tracing::warn!(%error, "a connection was lost between threads");
}

/// Starts a thread.
fn start() -> io::Result<mpsc::UnboundedSender<Begin>> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (sender, mut receiver) = mpsc::unbounded_channel::<Begin>();
    let follow = async move {
        while let Some(begin) = receiver.recv().await {
            tokio::spawn(begin());
        }
    };
    let thread = thread::Builder::new().name("streams".to_owned());
    thread.spawn(move || runtime.block_on(follow))?;
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn connections_take_turns_and_end_with_their_threads() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut threads = Threads::start().unwrap();
        let (mut clients, mut served) = (Vec::new(), Vec::new());
        let (told, mut heard) = mpsc::unbounded_channel();
        for _ in 0..4 {
            let address = listener.local_addr().unwrap();
            clients.push(TcpStream::connect(address).await.unwrap());
            let (stream, _) = listener.accept().await.unwrap();
            let told = told.clone();
            threads.serve(stream, |stream| async move {
                told.send(thread::current().id()).unwrap();
                std::future::pending::<()>().await;
                drop(stream);
            });
            served.push(heard.recv().await.unwrap());
        }
        assert_eq!((served[0], served[1]), (served[2], served[3]));
        assert!(served[0] != served[1] && !served.contains(&thread::current().id()));
        drop(threads);
        for mut client in clients {
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        }
    }
}
