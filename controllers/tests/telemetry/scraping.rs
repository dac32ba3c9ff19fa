//! Direct scraping, of servers that answer well and badly.

use std::sync::atomic::Ordering;
use std::time::Duration;

use wva_controllers::telemetry::Gatherer;
use wva_controllers::telemetry::TelemetrySettings;
use wva_controllers::telemetry::clock;
use wva_controllers::telemetry::gathered::{CountedBy, Gathered};
use wva_controllers::telemetry::http::{Http, HttpSettings, Limits, SettingsError};
use wva_controllers::telemetry::reason::{Missing, Reason, Source};
use wva_controllers::telemetry::router::settings::{RouterSettings, RouterUrl};
use wva_controllers::telemetry::scraper::ScrapeSettings;
use wva_controllers::telemetry::targets::{Endpoint, Targets};

use crate::fleet::{pod, router, targets};
use crate::pages::{self, LOAD};
use crate::servers::{Answer, Folder, crypto, plain, secure};

const LIMITS: Limits = Limits {
    timeout_s: 5.0,
    max_bytes: 100_000,
    accept_gzip: false,
    keep_alive: false,
};
const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";
/// `vllm:num_requests_running 1` forty times, compressed.
const GZIP: &[u8] = &[
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 43, 203, 201, 201, 181, 202, 43, 205, 141, 47, 74, 45, 44, 77,
    45, 46, 41, 142, 47, 42, 205, 203, 203, 204, 75, 87, 48, 228, 42, 27, 149, 27, 149, 27, 149,
    27, 149, 163, 64, 14, 0, 155, 153, 111, 137, 96, 4, 0, 0,
];

async fn get(answer: Answer, settings: HttpSettings, limits: Limits) -> Result<Vec<u8>, Missing> {
    let (address, _) = plain(answer).await;
    let http = Http::new(settings, limits).unwrap();
    http.get(&format!("http://{address}/metrics"), "*/*")
        .await
        .map(|(body, _)| body)
}

async fn reason(answer: Answer) -> Reason {
    get(answer, HttpSettings::default(), LIMITS)
        .await
        .unwrap_err()
        .reason
}

fn gzipped(bytes: &[u8], announced: usize) -> Answer {
    let mut all = Answer::head(&format!(
        "200 OK\ncontent-type: text/plain\ncontent-encoding: gzip\ncontent-length: {announced}"
    ));
    all.extend_from_slice(bytes);
    Answer::Bytes(all)
}

#[tokio::test]
async fn slow_servers_time_out_in_the_head_and_in_the_body() {
    let quick = Limits {
        timeout_s: 0.3,
        ..LIMITS
    };
    for answer in [
        Answer::Silence(Vec::new()),
        Answer::Silence(Answer::head(
            "200 OK\ncontent-type: text/plain\ncontent-length: 10",
        )),
    ] {
        let missing = get(answer, HttpSettings::default(), quick)
            .await
            .unwrap_err();
        assert_eq!(missing.reason, Reason::Timeout, "{missing:?}");
    }
}

#[tokio::test]
async fn endless_and_huge_pages_are_cut_off() {
    let head = Answer::head("200 OK\ncontent-type: text/plain");
    assert_eq!(
        reason(Answer::Endless(head, b"a 1\n".repeat(1000))).await,
        Reason::TooLarge
    );
    let gigabyte = Answer::head("200 OK\ncontent-type: text/plain\ncontent-length: 1073741824");
    assert_eq!(reason(Answer::Silence(gigabyte)).await, Reason::TooLarge);
}

#[tokio::test]
async fn truncated_answers_are_told_from_short_ones() {
    let mut half = Answer::head("200 OK\ncontent-type: text/plain\ncontent-length: 1000");
    half.extend_from_slice(b"a 1\n");
    assert_eq!(reason(Answer::Bytes(half)).await, Reason::Truncated);
    assert_eq!(reason(Answer::Bytes(Vec::new())).await, Reason::Truncated);
    assert_eq!(
        get(Answer::page(PLAIN, ""), HttpSettings::default(), LIMITS).await,
        Ok(Vec::new())
    );
}

#[tokio::test]
async fn compression_is_bounded_after_decompression_and_refused_unasked() {
    let asked = Limits {
        accept_gzip: true,
        ..LIMITS
    };
    let fetch = async |bytes: &[u8], announced, limits| {
        get(gzipped(bytes, announced), HttpSettings::default(), limits).await
    };
    assert_eq!(fetch(GZIP, GZIP.len(), asked).await.unwrap().len(), 1120);
    let cut = fetch(&GZIP[..40], 40, asked).await.unwrap_err();
    assert_eq!(cut.reason, Reason::Truncated, "{cut:?}");
    let bomb = Limits {
        max_bytes: 100,
        ..asked
    };
    assert_eq!(
        fetch(GZIP, GZIP.len(), bomb).await.unwrap_err().reason,
        Reason::TooLarge
    );
    assert_eq!(
        fetch(GZIP, GZIP.len(), LIMITS).await.unwrap_err().reason,
        Reason::BadContentType
    );
}

#[tokio::test]
async fn refusals_redirects_and_errors_are_told_apart() {
    assert_eq!(
        reason(Answer::Bytes(Answer::head(
            "401 Unauthorized\ncontent-length: 0"
        )))
        .await,
        Reason::Unauthorized
    );
    assert_eq!(
        reason(Answer::Bytes(Answer::head(
            "403 Forbidden\ncontent-length: 0"
        )))
        .await,
        Reason::Unauthorized
    );
    assert_eq!(
        reason(Answer::Bytes(Answer::head("500 Oops\ncontent-length: 0"))).await,
        Reason::HttpStatus
    );
    let (elsewhere, asked) = plain(Answer::page(PLAIN, "a 1\n")).await;
    let redirect = Answer::head(&format!(
        "302 Found\nlocation: http://{elsewhere}/\ncontent-length: 0"
    ));
    let missing = get(Answer::Bytes(redirect), HttpSettings::default(), LIMITS)
        .await
        .unwrap_err();
    assert_eq!(missing.reason, Reason::Redirected);
    assert!(missing.detail.contains(&elsewhere.to_string()));
    assert_eq!(asked.load(Ordering::SeqCst), 0, "nobody follows");
    crypto();
    let http = Http::new(HttpSettings::default(), LIMITS).unwrap();
    assert_eq!(
        http.get("http://127.0.0.1:1/metrics", "*/*")
            .await
            .unwrap_err()
            .reason,
        Reason::Unreachable
    );
}

#[tokio::test]
async fn tokens_follow_their_file() {
    fn guarded(head: &str) -> Vec<u8> {
        if head.contains("authorization: Bearer second\r\n")
            && head.contains("x-scope-orgid: a\r\n")
        {
            match Answer::page(PLAIN, "a 1\n") {
                Answer::Bytes(bytes) => bytes,
                _ => Vec::new(),
            }
        } else {
            Answer::head("401 Unauthorized\ncontent-length: 0")
        }
    }
    let folder = Folder::new("tokens");
    let (address, asked) = plain(Answer::Asked(guarded)).await;
    let settings = HttpSettings {
        bearer_token_file: Some(folder.write("token", "first\n")),
        headers: [("X-Scope-OrgID".to_owned(), "a".to_owned())].into(),
        ..HttpSettings::default()
    };
    let http = Http::new(settings, LIMITS).unwrap();
    let url = format!("http://{address}/metrics");
    assert_eq!(
        http.get(&url, "*/*").await.unwrap_err().reason,
        Reason::Unauthorized
    );
    folder.write("token", "second\n");
    assert_eq!(http.get(&url, "*/*").await.unwrap().0, b"a 1\n");
    assert_eq!(asked.load(Ordering::SeqCst), 4);
    std::fs::remove_file(folder.0.join("token")).unwrap();
    assert_eq!(
        http.client(true).await.unwrap_err().reason,
        Reason::Unauthorized
    );
}

#[tokio::test]
async fn basic_authentication_reads_its_password_from_a_file() {
    fn guarded(head: &str) -> Vec<u8> {
        // user:pass
        let status = if head.contains("authorization: Basic dXNlcjpwYXNz\r\n") {
            "200 OK"
        } else {
            "401 No"
        };
        Answer::head(&format!("{status}\ncontent-length: 0"))
    }
    let folder = Folder::new("basic");
    let settings = HttpSettings {
        username: Some("user".into()),
        password_file: Some(folder.write("password", "pass\n")),
        ..HttpSettings::default()
    };
    assert!(get(Answer::Asked(guarded), settings, LIMITS).await.is_ok());
}

#[tokio::test]
async fn tls_wants_the_right_authority_and_the_right_client() {
    let (address, certificates) = secure(Answer::page(PLAIN, "a 1\n")).await;
    let folder = Folder::new("tls");
    let ca = Some(folder.write("ca.pem", &certificates.authority));
    let identity = (
        Some(folder.write("client.pem", &certificates.client.0)),
        Some(folder.write("client.key", &certificates.client.1)),
    );
    let fetch = async |ca: Option<_>, (certificate, key): (Option<_>, Option<_>), insecure| {
        let settings = HttpSettings {
            ca_file: ca,
            client_certificate_file: certificate,
            client_key_file: key,
            insecure_skip_verify: insecure,
            ..HttpSettings::default()
        };
        let http = Http::new(settings, LIMITS).unwrap();
        http.get(&format!("https://{address}/metrics"), "*/*")
            .await
            .map_err(|m| (m.reason, m.detail))
    };
    assert_eq!(
        fetch(ca.clone(), identity.clone(), false).await.unwrap().0,
        b"a 1\n"
    );
    assert_eq!(
        fetch(None, identity.clone(), true).await.unwrap().0,
        b"a 1\n"
    );
    let stranger = fetch(None, identity.clone(), false).await.unwrap_err();
    assert_eq!(stranger.0, Reason::Tls, "{stranger:?}");
    let nobody = fetch(ca, (None, None), false).await.unwrap_err();
    assert_eq!(nobody.0, Reason::Tls, "{nobody:?}");
    let broken = fetch(
        Some(folder.write("bad.pem", "-----BEGIN CERTIFICATE-----\nx\n")),
        identity,
        false,
    )
    .await
    .unwrap_err();
    assert_eq!(broken.0, Reason::Tls, "{broken:?}");
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let check = |change: fn(&mut HttpSettings)| {
        let mut settings = HttpSettings::default();
        change(&mut settings);
        settings.check()
    };
    assert_eq!(check(|_| {}), Ok(()));
    assert_eq!(
        check(|s| (s.bearer_token_file, s.username) = (Some("t".into()), Some("u".into()))),
        Err(SettingsError::TwoCredentials)
    );
    assert_eq!(
        check(|s| s.client_key_file = Some("k".into())),
        Err(SettingsError::HalfIdentity)
    );
    assert_eq!(
        check(|s| drop(s.headers.insert("a b".into(), String::new()))),
        Err(SettingsError::Header("a b".into()))
    );
    assert!(
        Limits {
            timeout_s: f64::NAN,
            ..LIMITS
        }
        .check()
        .is_err()
    );
    assert!(serde_json::from_str::<TelemetrySettings>("{\"pods\":{\"intervall\":1}}").is_err());
    assert!(
        serde_json::from_str::<TelemetrySettings>("{\"pods\":{\"interval_seconds\":1}}").is_ok()
    );
}

fn scraping() -> Gatherer {
    let settings = TelemetrySettings {
        pods: Some(ScrapeSettings {
            interval_seconds: 0.1,
            timeout_seconds: 2.0,
            ..ScrapeSettings::default()
        }),
        ..TelemetrySettings::default()
    };
    Gatherer::new(&settings).unwrap()
}

/// Gathers until `done` or for twenty seconds.
async fn until(
    gatherer: &mut Gatherer,
    targets: &Targets,
    done: impl Fn(&Gathered) -> bool,
) -> Gathered {
    for _ in 0..400 {
        let gathered = gatherer.gather(targets, clock::system()).await;
        if done(&gathered) {
            return gathered;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{:?}", gatherer.gather(targets, clock::system()).await);
}

#[tokio::test]
async fn pods_and_pickers_are_scraped_and_each_failure_is_named() {
    let (good, _) = plain(Answer::page(PLAIN, &pages::vllm("meta/llama", &[LOAD]))).await;
    let (json, _) = plain(Answer::page("application/json", "[]")).await;
    let (other, _) = plain(Answer::page(PLAIN, "go_goroutines 7\n")).await;
    let (epp, _) = plain(Answer::page(
        PLAIN,
        "llm_d_epp_ready_endpoints{name=\"p\"} 1\nllm_d_epp_request_total{model_name=\"llama\"} 70\n",
    ))
    .await;
    let mut t = targets(&["good", "json", "other", "gone", "off", "new"]);
    for (pod, port) in t
        .pods
        .iter_mut()
        .zip([good.port(), json.port(), other.port(), 1, 1, 1])
    {
        pod.endpoint.ports.push(port);
    }
    t.pods[4].endpoint.disabled = true;
    t.pods[5].ip = None;
    t.routers.push(router("epp"));
    t.routers[0].endpoint.ports.push(epp.port());
    let mut gatherer = scraping();
    let first = gatherer.gather(&t, clock::system()).await;
    assert_eq!(
        first.pods[0].outcome.missing().unwrap().reason,
        Reason::NotYetScraped
    );
    let settled = |g: &Gathered| {
        let pending = |p: &wva_controllers::telemetry::PodTelemetry| {
            p.outcome
                .missing()
                .is_some_and(|m| m.reason == Reason::NotYetScraped)
        };
        g.streams[0].outcome.sample().is_some() && !g.pods.iter().any(pending)
    };
    let g = until(&mut gatherer, &t, settled).await;
    assert_eq!(g.pods[0].outcome.sample().unwrap().running, 12.0);
    let reasons: Vec<Reason> = g.pods[1..]
        .iter()
        .map(|p| p.outcome.missing().unwrap().reason)
        .collect();
    let expected = [
        Reason::BadContentType,
        Reason::NoEngineMetrics,
        Reason::Unreachable,
        Reason::ScrapeDisabled,
        Reason::NoAddress,
    ];
    assert_eq!(reasons, expected);
    assert_eq!(g.streams[0].counted_by, Some(CountedBy::Router));
    let health = &g.sources[Source::Pod.as_str()];
    assert!(
        health.configured
            && health.series > 100
            && health.last_success.is_some()
            && health.last_error.is_some()
    );
}

/// Where Prometheus is asked about pods, and about the gateway nobody.
#[tokio::test]
async fn routers_that_the_settings_name_are_asked_also_where_pods_are_not() {
    let page = "llm_d_epp_request_total{model_name=\"llama\"} 70\n";
    let (gateway, _) = plain(Answer::page(PLAIN, page)).await;
    let named = |url: String| TelemetrySettings {
        routers: RouterSettings {
            urls: vec![RouterUrl {
                url,
                namespace: Some("ml".into()),
            }],
            ..RouterSettings::default()
        },
        ..TelemetrySettings::default()
    };
    assert!(Gatherer::new(&named("gateway:9090/metrics".into())).is_err());
    let mut gatherer = Gatherer::new(&named(format!("http://{gateway}/metrics"))).unwrap();
    let mut t = targets(&["a"]);
    t.pods[0].endpoint.ports.push(gateway.port());
    let g = until(&mut gatherer, &t, |g| {
        g.streams[0].outcome.sample().is_some()
    })
    .await;
    assert_eq!(g.streams[0].counted_by, Some(CountedBy::Router));
    assert_eq!(
        g.pods[0].outcome.missing().unwrap().reason,
        Reason::NoSource
    );
}

#[tokio::test]
async fn all_ports_of_a_pod_must_answer_and_are_added_up() {
    let (one, _) = plain(Answer::page(PLAIN, &pages::vllm("meta/llama", &[LOAD]))).await;
    let (two, _) = plain(Answer::page(PLAIN, &pages::vllm("meta/llama", &[LOAD]))).await;
    let mut t = targets(&["both", "half"]);
    t.pods[0].endpoint.ports = vec![one.port(), two.port()];
    t.pods[1].endpoint.ports = vec![one.port(), 1];
    let mut gatherer = scraping();
    let g = until(&mut gatherer, &t, |g| {
        g.pods[0].outcome.sample().is_some()
            && g.pods[1]
                .outcome
                .missing()
                .is_some_and(|m| m.reason == Reason::Unreachable)
    })
    .await;
    assert_eq!(g.pods[0].outcome.sample().unwrap().running, 24.0);
}

#[tokio::test]
async fn hundreds_of_pods_come_round_and_the_gone_are_forgotten() {
    let (address, asked) = plain(Answer::page(PLAIN, &pages::vllm("meta/llama", &[LOAD]))).await;
    let mut t = targets(&[]);
    t.pods = (0..300)
        .map(|i| {
            let mut pod = pod(&format!("p{i}"), "v");
            pod.endpoint = Endpoint {
                ports: vec![address.port()],
                ..Endpoint::default()
            };
            pod
        })
        .collect();
    let mut gatherer = scraping();
    let g = until(&mut gatherer, &t, |g| {
        g.pods.iter().all(|p| p.outcome.sample().is_some())
    })
    .await;
    assert_eq!(g.replicas("v").count(), 300);
    assert!(asked.load(Ordering::SeqCst) >= 300);
    t.pods.truncate(1);
    let g = until(&mut gatherer, &t, |g| {
        g.sources[Source::Pod.as_str()].series < 1000
    })
    .await;
    assert_eq!(g.pods.len(), 1);
}
