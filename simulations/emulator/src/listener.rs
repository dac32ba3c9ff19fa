//! Listening sockets and connections of one server.
//!
//! Our own accept loop rather than axum's: a server that is stopped must drop its connections as a killed process does, not
//! go on answering on those that are kept alive.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What is to become of the connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wish {
    /// New ones are welcome.
    Open,
    /// Each ends after the answer it is at.
    Close,
    /// All end now.
    Cut,
}

/// A socket that listens without blocking; dropped, it is closed.
pub fn listen(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Accepts and serves connections until it is wished otherwise.
pub async fn serve(listener: TcpListener, router: Router, mut wish: watch::Receiver<Wish>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = until(Wish::Close, &mut wish) => return,
        };
        match accepted {
            Ok((stream, _)) => {
                tokio::spawn(connection(stream, router.clone(), wish.clone()));
            }
            Err(error) => {
                // Out of file descriptors, most likely: some will be free again.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router, mut wish: watch::Receiver<Wish>) {
    // Tokens are small writes that must not wait for one another.
    let _ = stream.set_nodelay(true);
    let builder = Builder::new(TokioExecutor::new());
    let service = TowerToHyperService::new(router);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return log(ended),
        () = until(Wish::Close, &mut wish) => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        biased;
        () = until(Wish::Cut, &mut wish) => {}
        ended = connection => log(ended),
    }
}

/// Waits for this wish or a harsher one.
async fn until(least: Wish, wish: &mut watch::Receiver<Wish>) {
    // An error means that nobody is left to wish anything: the emulator is gone, and says so by cutting first.
    let _ = wish.wait_for(|w| *w >= least).await;
}

fn log(ended: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = ended {
        tracing::debug!(error, "a connection broke");
    }
}
