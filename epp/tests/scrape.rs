//! Scraping servers as they really are: well, slow, endless, absurd, gone and back.
#![allow(clippy::unwrap_used)] // tests

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use wva_emulator::{Emulator, ServerSpec};
use wva_epp::clock::Clock;
use wva_epp::scrape::failure::Failure;
use wva_epp::scrape::fetch::{Bounds, Fetcher, Place};
use wva_epp::scrape::reading::{PageReader, Reading};
use wva_epp::scrape::{ScrapeError, ScrapeSettings, Scraper};
use wva_epp::store::Store;
use wva_epp_core::config::{Config, MetricsSource};
use wva_epp_core::endpoint::{Endpoint, Engine};
use wva_testbed::eventually;

const PAGE: &str =
    "vllm:num_requests_running 3\nvllm:num_requests_waiting 4\nvllm:kv_cache_usage_perc 0.5\n";

/// What a server does with a request.
#[derive(Debug, Clone, Copy)]
enum Answer {
    /// Answers 200 with this page.
    Page(&'static str),
    /// The same, and closes the connection.
    Once(&'static str),
    /// Answers this status.
    Status(u16),
    /// Announces this many bytes.
    Announce(u64),
    /// Sends a page that never ends.
    Endless,
    /// Sends a line that never ends.
    Line,
    /// Sends a head that never ends.
    Head,
    /// Sends a byte now and then.
    Drip,
    /// Says nothing.
    Silent,
    /// Breaks off in the middle of a page.
    Broken,
}

impl Answer {
    async fn give(self, stream: &mut TcpStream) -> std::io::Result<()> {
        let head = |length: usize| format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
        match self {
            Self::Page(page) | Self::Once(page) => {
                let text = format!("{}{page}", head(page.len()));
                stream.write_all(text.as_bytes()).await
            }
            Self::Status(code) => {
                let text = format!("HTTP/1.1 {code} No\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(text.as_bytes()).await
            }
            Self::Announce(length) => {
                let text = head(usize::try_from(length).unwrap());
                stream.write_all(text.as_bytes()).await?;
                std::future::pending().await
            }
            Self::Endless => {
                let text = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                stream.write_all(text.as_bytes()).await?;
                let chunk = format!("10000\r\n{}\r\n", "x 1234567890123\n".repeat(4096));
                loop {
                    stream.write_all(chunk.as_bytes()).await?;
                }
            }
            Self::Line => {
                let text = "HTTP/1.1 200 OK\r\n\r\nvllm:num_requests_running ";
                stream.write_all(text.as_bytes()).await?;
                loop {
                    stream.write_all(&[b'1'; 1 << 16]).await?;
                }
            }
            Self::Head => {
                stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
                loop {
                    stream.write_all(b"x-more: and more\r\n").await?;
                }
            }
            Self::Drip => {
                stream.write_all(head(PAGE.len()).as_bytes()).await?;
                for byte in PAGE.bytes() {
                    stream.write_all(&[byte]).await?;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                std::future::pending().await
            }
            Self::Silent => std::future::pending().await,
            Self::Broken => {
                let text = format!("{}{PAGE}", head(10_000));
                stream.write_all(text.as_bytes()).await?;
                stream.shutdown().await
            }
        }
    }
}

/// Where it listens, and how many connections it has had.
async fn server(answer: Answer) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Relaxed);
            tokio::spawn(async move {
                let mut request = vec![0; 4096];
                while stream.read(&mut request).await.is_ok_and(|n| n > 0) {
                    if answer.give(&mut stream).await.is_err() || matches!(answer, Answer::Once(_))
                    {
                        return;
                    }
                }
            });
        }
    });
    (address, connections)
}

fn fetcher(address: SocketAddr) -> Fetcher {
    patient(address, Duration::from_millis(300))
}

fn patient(address: SocketAddr, timeout: Duration) -> Fetcher {
    let path = "/metrics".to_owned();
    let bounds = Bounds {
        timeout,
        most_bytes: 1 << 20,
    };
    Fetcher::new(Place { address, path }, bounds, None)
}

async fn fetch(fetcher: &mut Fetcher) -> Result<Option<Reading>, Failure> {
    let mut reader = PageReader::new(Arc::default());
    fetcher.fetch(&mut reader, || {}).await?;
    Ok(reader.finish(Engine::Vllm))
}

#[tokio::test]
async fn a_connection_is_kept_and_made_anew_where_the_server_closes_it() {
    for (answer, expected) in [(Answer::Page(PAGE), 1), (Answer::Once(PAGE), 5)] {
        let (address, connections) = server(answer).await;
        let mut fetcher = fetcher(address);
        for _ in 0..5 {
            let reading = fetch(&mut fetcher).await.unwrap().unwrap();
            assert_eq!((reading.running, reading.waiting), (3.0, 4.0));
            // So that a connection that closes has been seen to close, or not.
            tokio::task::yield_now().await;
        }
        assert_eq!(connections.load(Relaxed), expected, "{answer:?}");
    }
}

#[tokio::test]
async fn each_kind_of_failure_has_its_name() {
    for (answer, reason) in [
        (Answer::Status(503), "status"),
        (Answer::Announce(1 << 30), "too-large"),
        (Answer::Endless, "too-large"),
        (Answer::Line, "too-large"),
        (Answer::Head, "broken"),
        (Answer::Drip, "timeout"),
        (Answer::Silent, "timeout"),
        (Answer::Broken, "broken"),
    ] {
        let (address, _) = server(answer).await;
        // Where anything else is to be seen, the limit must not be.
        let limit = if reason == "timeout" { 300 } else { 30_000 };
        let mut fetcher = patient(address, Duration::from_millis(limit));
        let failure = fetch(&mut fetcher).await.unwrap_err();
        assert_eq!(failure.reason(), reason, "{answer:?}: {failure}");
    }
    let (address, _) = server(Answer::Page("<html>no metrics</html>\n")).await;
    assert_eq!(fetch(&mut fetcher(address)).await, Ok(None));
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let failure = fetch(&mut fetcher(address)).await.unwrap_err();
    assert_eq!(failure.reason(), "unreachable");
}

fn settings() -> ScrapeSettings {
    ScrapeSettings {
        interval: Duration::from_millis(20),
        timeout: Duration::from_millis(300),
        most_bytes: 1 << 20,
        ..ScrapeSettings::default()
    }
}

fn store(addresses: &[SocketAddr]) -> Arc<Store> {
    let store = Arc::new(Store::new(Config::standard().picker, 1));
    store.update(|directory| {
        for (number, address) in addresses.iter().enumerate() {
            directory.apply(Endpoint::new(*address, "ns", &number.to_string()));
        }
    });
    store
}

/// Age of an endpoint's numbers, seconds.
fn age(store: &Store, clock: Clock, address: &SocketAddr) -> Option<f64> {
    store.publish();
    let pool = store.pool();
    pool.age(pool.slot(address)?, clock.now())
}

#[tokio::test]
async fn one_bad_server_costs_itself_only() {
    let bad = [
        Answer::Endless,
        Answer::Line,
        Answer::Head,
        Answer::Drip,
        Answer::Silent,
        Answer::Page("vllm:num_requests_running NaN\n"),
        Answer::Page("up 1\n"),
    ];
    let mut addresses = vec![server(Answer::Page(PAGE)).await.0];
    for answer in bad {
        addresses.push(server(answer).await.0);
    }
    let (store, clock) = (store(&addresses), Clock::start());
    let scraper = Scraper::new(Arc::clone(&store), clock, settings()).unwrap();
    let census = scraper.census();
    tokio::spawn(scraper.run());
    eventually("every kind of failure", async || {
        let failures: Vec<_> = census.failures().filter(|(_, n)| *n > 0).collect();
        let enough = census.pages() >= 100 && failures.len() == 5;
        enough.then_some(()).ok_or(format!("{failures:?}"))
    })
    .await
    .unwrap();
    assert!(age(&store, clock, &addresses[0]).unwrap() < 1.0);
    assert!(
        addresses[1..]
            .iter()
            .all(|a| age(&store, clock, a).is_none())
    );
    let attempts: u64 = census.failures().map(|(_, n)| n).sum();
    assert!(
        attempts < census.pages(),
        "failing ones are asked less often"
    );
}

#[tokio::test]
async fn endpoints_that_come_are_read_and_those_that_go_are_not() {
    let (first, _) = server(Answer::Page(PAGE)).await;
    let (second, connections) = server(Answer::Page(PAGE)).await;
    let (store, clock) = (store(&[first]), Clock::start());
    let scraper = Scraper::new(Arc::clone(&store), clock, settings()).unwrap();
    let census = scraper.census();
    tokio::spawn(scraper.run());
    let read = async |address: SocketAddr| {
        let known = || age(&store, clock, &address).ok_or("not yet");
        eventually("a page", async || known()).await.unwrap();
    };
    read(first).await;
    store.update(|d| d.apply(Endpoint::new(second, "ns", "second")));
    read(second).await;
    // One that begins to drain is read on, by the connection that it has.
    store.update(|d| {
        let draining = true;
        d.apply(Endpoint {
            draining,
            ..Endpoint::new(second, "ns", "second")
        })
    });
    let before = census.pages();
    eventually("more pages", async || {
        (census.pages() > before + 6).then_some(()).ok_or("not yet")
    })
    .await
    .unwrap();
    assert_eq!(connections.load(Relaxed), 1);
    // Taken away and put back before anyone looked: another pod now.
    store.update(|d| d.remove(&second));
    store.update(|d| d.apply(Endpoint::new(second, "ns", "third")));
    read(second).await;
    assert_eq!(connections.load(Relaxed), 2);
}

#[tokio::test]
async fn an_emulated_server_is_understood() {
    let emulator = Emulator::start(wva_emulator::Config::default()).unwrap();
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut spec = ServerSpec::of("llama-3.1-8b", "l40s", anywhere).unwrap();
    spec.loras = vec!["sql".to_owned()];
    let server = emulator.spawn_server(spec).unwrap();
    let reading = fetch(&mut fetcher(server.address()))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (reading.running, reading.waiting, reading.kv_usage),
        (0.0, 0.0, 0.0)
    );
    assert_eq!(reading.cache.map(|c| c.block_tokens), Some(16));
    assert!(reading.lora.is_some() && reading.absurd.is_empty());
}

#[test]
fn settings_that_cannot_be_followed_are_refused() {
    let refused = |settings| {
        let made = Scraper::new(store(&[]), Clock::start(), settings);
        made.err().map(|e: ScrapeError| e.to_string())
    };
    let source = |path: &str| ScrapeSettings {
        source: MetricsSource {
            path: path.to_owned(),
            ..MetricsSource::default()
        },
        ..ScrapeSettings::default()
    };
    assert!(refused(source("metrics")).unwrap().contains("\"metrics\""));
    assert!(refused(source("/a b\n")).is_some());
    let interval = Duration::ZERO;
    assert!(
        refused(ScrapeSettings {
            interval,
            ..ScrapeSettings::default()
        })
        .is_some()
    );
    assert_eq!(refused(ScrapeSettings::default()), None);
}
