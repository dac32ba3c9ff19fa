//! Writes against an API server that records what it is asked: bodies, preconditions, refusals, and the fence.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hyper::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::watch;
use wva_controllers::actuate::Writer;
use wva_controllers::api::VariantAutoscalingStatus;
use wva_controllers::cycle::effects::{Effect, WriteOutcome};
use wva_controllers::index::Key;
use wva_controllers::index::fleet::Subject;
use wva_controllers::leader::Term;

/// What was asked: method, path with query, body.
type Asked = Arc<Mutex<Vec<(String, String, Value)>>>;

/// A client of a server that gives these answers, and what it is asked. `delay` passes before each answer.
fn server(answers: Vec<(u16, Value)>, delay: Duration) -> (Client, Asked) {
    let asked = Asked::default();
    let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
    let seen = Arc::clone(&asked);
    let service = tower::service_fn(move |request: Request<Body>| {
        let (seen, answers) = (Arc::clone(&seen), Arc::clone(&answers));
        async move {
            let method = request.method().to_string();
            let uri = request.uri().to_string();
            let bytes = request.into_body().collect_bytes().await?;
            let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
            seen.lock().expect("not poisoned").push((method, uri, body));
            tokio::time::sleep(delay).await;
            let answer = answers.lock().expect("not poisoned").pop_front();
            let (code, body) = answer.unwrap_or((500, json!({})));
            let response = Response::builder().status(code);
            Ok::<_, kube::Error>(
                response
                    .body(Body::from(body.to_string().into_bytes()))
                    .expect("valid"),
            )
        }
    });
    (Client::new(service, "default"), asked)
}

fn leading() -> watch::Receiver<Term> {
    watch::channel(Term::renewed(Instant::now())).1
}

fn status_of(code: u16, reason: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("{reason} it is"), "reason": reason, "code": code})
}

fn scale(replicas: i32) -> Value {
    json!({"apiVersion": "autoscaling/v1", "kind": "Scale",
        "metadata": {"name": "d", "namespace": "ns", "resourceVersion": "42"},
        "spec": {"replicas": replicas}, "status": {"replicas": replicas}})
}

fn scale_effect() -> Effect {
    Effect::Scale {
        variant: Key::new("ns", "v"),
        target: Subject {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            name: "d".into(),
            uid: String::new(),
        },
        from: 2,
        to: 5,
    }
}

fn status_effect() -> Effect {
    Effect::Status {
        variant: Key::new("ns", "v"),
        version: Some("41".into()),
        status: Box::new(VariantAutoscalingStatus {
            reason: Some("demand".into()),
            ..VariantAutoscalingStatus::default()
        }),
    }
}

async fn write(
    effect: Effect,
    answers: Vec<(u16, Value)>,
) -> (WriteOutcome, Vec<(String, String, Value)>) {
    let (client, asked) = server(answers, Duration::ZERO);
    let outcome = Writer::new(client, leading(), "test").write(&effect).await;
    let asked = asked.lock().expect("not poisoned").clone();
    (outcome, asked)
}

#[tokio::test]
async fn a_scale_is_patched_on_the_version_that_was_read() {
    let (outcome, asked) = write(scale_effect(), vec![(200, scale(2)), (200, scale(5))]).await;
    assert_eq!(outcome, WriteOutcome::Done);
    assert_eq!(asked.len(), 2);
    let (method, uri, body) = &asked[1];
    assert_eq!(method, "PATCH");
    assert!(
        uri.starts_with("/apis/apps/v1/namespaces/ns/deployments/d/scale"),
        "{uri}"
    );
    assert_eq!(
        body,
        &json!({"metadata": {"resourceVersion": "42"}, "spec": {"replicas": 5}})
    );
}

#[tokio::test]
async fn whoever_scaled_first_wins() {
    let (outcome, asked) = write(scale_effect(), vec![(200, scale(3))]).await;
    assert_eq!((outcome, asked.len()), (WriteOutcome::Conflict, 1));
    let late = vec![(200, scale(2)), (409, status_of(409, "Conflict"))];
    assert_eq!(write(scale_effect(), late).await.0, WriteOutcome::Conflict);
}

#[tokio::test]
async fn refusals_have_names() {
    let gone = write(scale_effect(), vec![(404, status_of(404, "NotFound"))])
        .await
        .0;
    assert_eq!(gone, WriteOutcome::Gone);
    let forbidden = write(status_effect(), vec![(403, status_of(403, "Forbidden"))])
        .await
        .0;
    assert_eq!(forbidden, WriteOutcome::Forbidden("Forbidden it is".into()));
    let failed = write(
        status_effect(),
        vec![(500, status_of(500, "InternalError"))],
    )
    .await
    .0;
    assert!(matches!(failed, WriteOutcome::Failed(_)));
}

#[tokio::test]
async fn a_status_is_applied_under_a_manager_of_its_own() {
    let answer = json!({"apiVersion": "llmd.ai/v1alpha1", "kind": "VariantAutoscaling", "metadata": {"name": "v"}});
    let (outcome, asked) = write(status_effect(), vec![(200, answer)]).await;
    assert_eq!(outcome, WriteOutcome::Done);
    let (method, uri, body) = &asked[0];
    assert_eq!(method, "PATCH");
    assert!(
        uri.contains("/variantautoscalings/v/status") && uri.contains("fieldManager=wva"),
        "{uri}"
    );
    assert_eq!(body["status"]["reason"], "demand");
    // Not over what somebody wrote since it was decided.
    assert_eq!(body["metadata"]["resourceVersion"], "41");
    assert!(
        body.get("spec").is_none(),
        "nothing of the user's is touched"
    );
}

#[tokio::test]
async fn nothing_is_written_without_a_term() {
    let (client, asked) = server(vec![(200, scale(2))], Duration::ZERO);
    let (terms, receiver) = watch::channel(Term::default());
    let writer = Writer::new(client, receiver, "test");
    assert_eq!(writer.write(&scale_effect()).await, WriteOutcome::NotLeader);
    // A term that ended while nobody said so.
    let long_ago = Instant::now() - wva_controllers::leader::DURATION;
    terms.send_replace(Term::renewed(long_ago));
    assert_eq!(
        writer.write(&status_effect()).await,
        WriteOutcome::NotLeader
    );
    assert!(asked.lock().expect("not poisoned").is_empty());
}

#[tokio::test]
async fn a_write_may_not_outlast_the_term() {
    let (client, asked) = server(
        vec![(200, scale(2)), (200, scale(5))],
        Duration::from_secs(60),
    );
    let nearly_over = Instant::now()
        - (wva_controllers::leader::DURATION - wva_controllers::leader::SLACK)
        + Duration::from_millis(200);
    let (_terms, receiver) = watch::channel(Term::renewed(nearly_over));
    let outcome = Writer::new(client, receiver, "test")
        .write(&scale_effect())
        .await;
    assert!(matches!(outcome, WriteOutcome::Failed(_)), "{outcome:?}");
    assert_eq!(
        asked.lock().expect("not poisoned").len(),
        1,
        "it was read and never patched"
    );
}
