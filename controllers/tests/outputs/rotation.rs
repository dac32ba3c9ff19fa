//! Certificates that change while they are served.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::routing::get;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{ServerName, UnixTime};
use tokio::task::JoinSet;
use wva_controllers::serving::Transport;
use wva_controllers::serving::authority::{AUTHORITY_LIFE, SERVING_LIFE, SETTLE, Saved, SelfMade};
use wva_controllers::serving::certificates::{CertificateFiles, HotCertificate, certificates};

use crate::fixtures::{Ca, Served, client, listen};

const DAY: Duration = Duration::from_secs(86_400);

async fn slow() -> &'static str {
    tokio::time::sleep(Duration::from_millis(5)).await;
    "ok"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_the_certificate_changes() {
    let served = Served::start(Router::new().route("/", get(slow))).await;
    let (done, asked) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut clients = JoinSet::new();
    for reconnecting in [false, false, true, true] {
        let (url, authority) = (served.url("/"), served.authority.pem.clone());
        let (done, asked) = (Arc::clone(&done), Arc::clone(&asked));
        clients.spawn(async move {
            let mut client = client(&authority, None);
            while !done.load(Ordering::Relaxed) {
                if reconnecting {
                    client = crate::fixtures::client(&authority, None);
                }
                let answer = client.get(&url).send().await.expect("no request fails");
                assert_eq!(answer.status(), 200);
                asked.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for _ in 0..20 {
        let pair = served.authority.server();
        let before = asked.load(Ordering::Relaxed);
        served
            .certificate
            .replace(&pair.certificate, &pair.key)
            .unwrap();
        assert_eq!(
            served.certificate.leaf(),
            certificates(&pair.certificate).unwrap()[0]
        );
        while asked.load(Ordering::Relaxed) < before + 8 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    done.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
}

#[tokio::test]
async fn new_connections_see_the_new_certificate_and_old_ones_go_on() {
    let served = Served::start(Router::new().route("/", get(|| async { "ok" }))).await;
    let early = served.client(None);
    let url = served.url("/");
    assert_eq!(early.get(&url).send().await.unwrap().status(), 200);
    let other = Ca::new("other");
    let pair = other.server();
    served
        .certificate
        .replace(&pair.certificate, &pair.key)
        .unwrap();
    // The early client trusts only the first authority: a new handshake would fail, as that of its twin does.
    assert_eq!(early.get(&url).send().await.unwrap().status(), 200);
    assert!(served.client(None).get(&url).send().await.is_err());
    assert_eq!(
        client(&other.pem, None)
            .get(&url)
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
}

#[test]
fn a_pair_that_does_not_fit_changes_nothing() {
    let ca = Ca::new("ca");
    let (one, two) = (ca.server(), ca.server());
    let hot = HotCertificate::new(&one.certificate, &one.key).unwrap();
    let leaf = hot.leaf();
    for (chain, key) in [
        (&two.certificate, &one.key),
        (&two.key, &two.key),
        (&two.certificate, &String::new()),
    ] {
        assert!(hot.replace(chain, key).is_err());
        assert_eq!(hot.leaf(), leaf);
    }
    assert!(HotCertificate::new("", &one.key).is_err());
}

#[tokio::test]
async fn files_are_followed() {
    let folder = std::env::temp_dir().join(format!("wva-certificates-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (chain, key) = (folder.join("tls.crt"), folder.join("tls.key"));
    let ca = Ca::new("ca");
    let (one, two) = (ca.server(), ca.server());
    std::fs::write(&chain, &one.certificate).unwrap();
    assert!(
        CertificateFiles::open(&chain, &key).await.is_err(),
        "there is no key yet"
    );
    std::fs::write(&key, &one.key).unwrap();
    let (mut files, hot) = CertificateFiles::open(&chain, &key).await.unwrap();
    assert!(!files.check(&hot).await.unwrap());
    // Half written: the certificate before it stays.
    std::fs::write(&chain, &two.certificate).unwrap();
    assert!(files.check(&hot).await.is_err());
    assert_eq!(hot.leaf(), certificates(&one.certificate).unwrap()[0]);
    std::fs::write(&key, &two.key).unwrap();
    assert!(files.check(&hot).await.unwrap());
    assert_eq!(hot.leaf(), certificates(&two.certificate).unwrap()[0]);
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Whether a client that trusts this bundle accepts what is served at that time.
fn accepted(bundle: &str, hot: &HotCertificate, now: SystemTime) -> bool {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(bundle).unwrap() {
        roots.add(certificate).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .unwrap();
    let name = ServerName::try_from("wva.wva-system.svc").unwrap();
    let now = UnixTime::since_unix_epoch(now.duration_since(SystemTime::UNIX_EPOCH).unwrap());
    verifier
        .verify_server_cert(&hot.leaf(), &[], &name, &[], now)
        .is_ok()
}

fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000)
}

fn names() -> Vec<String> {
    vec!["wva.wva-system.svc".into()]
}

#[test]
fn over_ten_years_every_client_accepts_what_every_replica_serves() {
    let mut now = start();
    let mut one = SelfMade::new(None, names(), now).unwrap();
    let mut two = SelfMade::new(Some(one.saved().clone()), names(), now).unwrap();
    let (mut authorities, mut renewed) = (0, 0);
    while now < start() + AUTHORITY_LIFE * 3 {
        // The bundle that clients have is the one stored after the tick before, and the second replica looks an
        // interval later: what is served must suit both the old bundle and the new.
        let bundle = one.bundle();
        let changes = one.tick(now).unwrap();
        assert!(
            accepted(&bundle, &one.certificate(), now),
            "old bundle, {now:?}"
        );
        assert!(
            accepted(&one.bundle(), &one.certificate(), now),
            "new bundle, {now:?}"
        );
        assert!(
            accepted(&one.bundle(), &two.certificate(), now),
            "late replica, {now:?}"
        );
        let adopted = two.adopt(one.saved().clone(), now).unwrap();
        two.tick(now).unwrap();
        assert!(
            accepted(&bundle, &two.certificate(), now),
            "second replica, {now:?}"
        );
        assert!(!adopted.authority, "only one of them makes a new authority");
        assert_eq!(one.saved(), two.saved());
        authorities += usize::from(changes.authority);
        renewed += usize::from(changes.certificate);
        // Around a change of authority the steps are short, as they are in life.
        now += if one.saved().previous.is_some() && changes.authority {
            SETTLE / 2
        } else {
            DAY * 2
        };
    }
    assert_eq!(authorities, 4, "every two years of nine");
    assert!(renewed >= 9 * 365 / 48, "{renewed} certificates");
}

#[test]
fn a_new_authority_settles_before_it_issues() {
    let now = start();
    let mut own = SelfMade::new(None, names(), now).unwrap();
    let old_bundle = own.bundle();
    let due = now + AUTHORITY_LIFE * 2 / 3 + DAY;
    let changes = own.tick(due).unwrap();
    assert!(
        changes.authority && changes.certificate,
        "the certificate is long due, too"
    );
    assert!(
        accepted(&old_bundle, &own.certificate(), due),
        "still of the old authority"
    );
    let settled = own.tick(due + SETTLE * 2).unwrap();
    assert!(settled.certificate && !settled.authority);
    assert!(!accepted(&old_bundle, &own.certificate(), due + SETTLE * 2));
    assert!(accepted(
        &own.bundle(),
        &own.certificate(),
        due + SETTLE * 2
    ));
}

#[test]
fn certificates_are_renewed_at_half_their_life() {
    let now = start();
    let mut own = SelfMade::new(None, names(), now).unwrap();
    let leaf = own.certificate().leaf();
    assert!(!own.tick(now + SERVING_LIFE / 2 - DAY).unwrap().certificate);
    assert_eq!(own.certificate().leaf(), leaf);
    assert!(own.tick(now + SERVING_LIFE / 2).unwrap().certificate);
    assert_ne!(own.certificate().leaf(), leaf);
}

#[test]
fn a_stored_authority_that_is_none_is_refused() {
    let good = Saved::new(start()).unwrap();
    for (certificate, key) in [
        ("", good.key.as_str()),
        ("text", good.key.as_str()),
        (good.certificate.as_str(), ""),
    ] {
        let saved = Saved {
            certificate: certificate.into(),
            key: key.into(),
            previous: None,
        };
        assert!(SelfMade::new(Some(saved), names(), start()).is_err());
    }
    assert!(!format!("{good:?}").contains("PRIVATE KEY"));
}

#[tokio::test]
async fn an_idle_or_babbling_client_does_not_keep_others_waiting() {
    use tokio::io::AsyncWriteExt;
    let served = Served::start(Router::new().route("/", get(|| async { "ok" }))).await;
    let _idle = tokio::net::TcpStream::connect(served.address)
        .await
        .unwrap();
    let mut babbling = tokio::net::TcpStream::connect(served.address)
        .await
        .unwrap();
    babbling.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(
        served
            .client(None)
            .get(served.url("/"))
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
}

#[tokio::test]
async fn open_requests_finish_when_the_server_stops() {
    let app = Router::new().route(
        "/",
        get(|| async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            "ok"
        }),
    );
    let (address, stop) = listen(Transport::Plain, app).await;
    let client = reqwest_plain();
    let asking = tokio::spawn({
        let client = client.clone();
        async move {
            client
                .get(format!("http://{address}/"))
                .send()
                .await
                .unwrap()
                .text()
                .await
                .unwrap()
        }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(stop);
    assert_eq!(asking.await.unwrap(), "ok");
    assert!(
        client
            .get(format!("http://{address}/"))
            .send()
            .await
            .is_err()
    );
}

fn reqwest_plain() -> reqwest::Client {
    client(&Ca::new("unused").pem, None)
}
