//! The KEDA scaler, asked as KEDA asks.

use std::collections::HashMap;
use std::net::SocketAddr;

use rstest::rstest;
use tokio::sync::oneshot;
use tonic::Code;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use wva_controllers::keda::externalscaler::external_scaler_client::ExternalScalerClient;
use wva_controllers::keda::externalscaler::{GetMetricsRequest, ScaledObjectRef};
use wva_controllers::keda::{METRIC, router};
use wva_controllers::published::{Publisher, Report};
use wva_controllers::serving::Transport;

use crate::fixtures::{Served, decided, held, listen, report};

type Client = ExternalScalerClient<Channel>;

async fn scaler() -> (Client, Publisher, oneshot::Sender<()>) {
    let (publisher, published) = Publisher::new();
    let (address, stop) = listen(Transport::Plain, router(published)).await;
    (connect(address).await, publisher, stop)
}

async fn connect(address: SocketAddr) -> Client {
    let channel = Endpoint::new(format!("http://{address}"))
        .unwrap()
        .connect()
        .await
        .unwrap();
    ExternalScalerClient::new(channel)
}

fn object(metadata: &[(&str, &str)]) -> ScaledObjectRef {
    let mut scaler_metadata: HashMap<String, String> = metadata
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    scaler_metadata.insert("scalerAddress".into(), "wva.wva-system:9090".into());
    ScaledObjectRef {
        name: "llama".into(),
        namespace: "team".into(),
        scaler_metadata,
    }
}

fn metrics(metric: &str, metadata: &[(&str, &str)]) -> GetMetricsRequest {
    GetMetricsRequest {
        scaled_object_ref: Some(object(metadata)),
        metric_name: metric.into(),
    }
}

#[tokio::test]
async fn the_metric_is_one_replica_a_unit_even_before_the_first_decision() {
    let (mut client, _publisher, _stop) = scaler().await;
    let spec = client
        .get_metric_spec(object(&[]))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(spec.metric_specs.len(), 1);
    let only = &spec.metric_specs[0];
    assert_eq!(
        (
            only.metric_name.as_str(),
            only.target_size,
            only.target_size_float
        ),
        (METRIC, 1, 1.0)
    );
}

#[tokio::test]
async fn values_carry_thousandths_and_whole_units() {
    let (mut client, publisher, _stop) = scaler().await;
    let mut down = decided("team", "llama", 23, 21);
    down.hpa_tolerance = Some(0.1);
    publisher.publish(report(1.0, [down, decided("team", "other", 0, 3)]));
    for name in [
        METRIC,
        "s0-wva_desired_replicas",
        "s12-wva_desired_replicas",
    ] {
        let answer = client
            .get_metrics(metrics(name, &[]))
            .await
            .unwrap()
            .into_inner();
        let value = &answer.metric_values[0];
        assert_eq!(
            (
                value.metric_name.as_str(),
                value.metric_value,
                value.metric_value_float
            ),
            (name, 21, 20.699)
        );
    }
    let other = client
        .get_metrics(metrics(METRIC, &[("variantName", "other")]))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(other.metric_values[0].metric_value_float, 3.0);
}

#[tokio::test]
async fn active_means_that_there_shall_be_replicas() {
    let (mut client, publisher, _stop) = scaler().await;
    for (current, desired) in [(0, 0), (0, 1), (3, 0), (1, 5)] {
        publisher.publish(report(1.0, [decided("team", "llama", current, desired)]));
        let active = client
            .is_active(object(&[]))
            .await
            .unwrap()
            .into_inner()
            .result;
        assert_eq!(active, desired > 0);
    }
    publisher.publish(Report {
        at: 2.0,
        entries: vec![held("team", "llama", 0)],
        solver: None,
    });
    assert!(
        client
            .is_active(object(&[]))
            .await
            .unwrap()
            .into_inner()
            .result,
        "held data deactivates nothing"
    );
}

#[rstest]
#[case(object(&[("variantName", "nobody")]), Code::NotFound)]
#[case(object(&[("variantname", "llama")]), Code::InvalidArgument)]
#[case(object(&[("variant_name", "llama")]), Code::InvalidArgument)]
#[case(object(&[("variantName", "")]), Code::InvalidArgument)]
#[case(ScaledObjectRef::default(), Code::InvalidArgument)]
#[case(ScaledObjectRef { namespace: "other".into(), ..object(&[]) }, Code::NotFound)]
#[tokio::test]
async fn mistakes_are_errors_and_not_zero(#[case] asked: ScaledObjectRef, #[case] expected: Code) {
    let (mut client, publisher, _stop) = scaler().await;
    publisher.publish(report(1.0, [decided("team", "llama", 1, 1)]));
    let request = GetMetricsRequest {
        scaled_object_ref: Some(asked.clone()),
        metric_name: METRIC.into(),
    };
    for error in [
        client.is_active(asked).await.map(drop).unwrap_err(),
        client.get_metrics(request).await.map(drop).unwrap_err(),
    ] {
        assert_eq!(error.code(), expected, "{error}");
        assert!(error.message().len() > 20);
    }
}

#[tokio::test]
async fn before_the_first_cycle_the_scaler_is_unavailable() {
    let (mut client, _publisher, _stop) = scaler().await;
    assert_eq!(
        client.is_active(object(&[])).await.unwrap_err().code(),
        Code::Unavailable
    );
    assert_eq!(
        client
            .get_metrics(metrics(METRIC, &[]))
            .await
            .unwrap_err()
            .code(),
        Code::Unavailable
    );
}

#[tokio::test]
async fn other_metrics_are_not_found() {
    let (mut client, publisher, _stop) = scaler().await;
    publisher.publish(report(1.0, [decided("team", "llama", 1, 1)]));
    for name in [
        "",
        "cpu",
        "sx-wva_desired_replicas",
        "s-wva_desired_replicas",
    ] {
        assert_eq!(
            client
                .get_metrics(metrics(name, &[]))
                .await
                .unwrap_err()
                .code(),
            Code::NotFound
        );
    }
}

#[tokio::test]
async fn the_stream_tells_each_change_once() {
    let (mut client, publisher, stop) = scaler().await;
    let mut stream = client
        .stream_is_active(object(&[]))
        .await
        .unwrap()
        .into_inner();
    // Nothing is said before something is decided; then at once, and then only changes.
    publisher.publish(report(1.0, [decided("team", "other", 1, 1)]));
    publisher.publish(report(2.0, [decided("team", "llama", 0, 0)]));
    assert!(!stream.message().await.unwrap().unwrap().result);
    publisher.publish(report(3.0, [decided("team", "llama", 0, 0)]));
    publisher.publish(report(4.0, [decided("team", "llama", 0, 2)]));
    assert!(stream.message().await.unwrap().unwrap().result);
    publisher.publish(report(5.0, [decided("team", "llama", 2, 7)]));
    publisher.publish(report(6.0, []));
    publisher.publish(report(7.0, [decided("team", "llama", 7, 0)]));
    assert!(!stream.message().await.unwrap().unwrap().result);
    drop(publisher);
    assert!(
        stream.message().await.unwrap().is_none(),
        "the stream ends with the process"
    );
    drop(stop);
}

#[tokio::test]
async fn a_late_stream_begins_with_the_state_as_it_is() {
    let (mut client, publisher, _stop) = scaler().await;
    publisher.publish(report(1.0, [decided("team", "llama", 1, 4)]));
    let mut stream = client
        .stream_is_active(object(&[]))
        .await
        .unwrap()
        .into_inner();
    assert!(stream.message().await.unwrap().unwrap().result);
}

#[tokio::test]
async fn over_tls() {
    let (publisher, published) = Publisher::new();
    publisher.publish(report(1.0, [decided("team", "llama", 1, 4)]));
    let served = Served::start(router(published)).await;
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(&served.authority.pem))
        .domain_name("localhost");
    let endpoint = Endpoint::new(format!("https://{}", served.address))
        .unwrap()
        .tls_config(tls)
        .unwrap();
    let mut client = ExternalScalerClient::new(endpoint.connect().await.unwrap());
    assert!(
        client
            .is_active(object(&[]))
            .await
            .unwrap()
            .into_inner()
            .result
    );
}

/// One look of KEDA at the scaler: whether there shall be replicas is its own business, how many is that of the HPA it makes.
async fn followed(client: &mut Client, replicas: u32) -> u32 {
    let active = client.is_active(object(&[])).await.unwrap().into_inner();
    match (active.result, replicas) {
        (false, _) => 0,
        (true, 0) => 1,
        (true, replicas) => {
            let question = metrics("s0-wva_desired_replicas", &[]);
            let answer = client.get_metrics(question).await.unwrap().into_inner();
            let value = answer.metric_values[0].metric_value_float;
            // The HPA's own tolerance.
            if (value / f64::from(replicas) - 1.0).abs() <= 0.1 {
                replicas
            } else {
                value.ceil() as u32
            }
        }
    }
}

#[tokio::test]
async fn from_none_to_some_to_many_and_back_to_none() {
    let (mut client, publisher, _stop) = scaler().await;
    let (mut replicas, mut at) = (0, 0.0);
    for desired in [0, 1, 3, 8, 2, 0] {
        for _ in 0..3 {
            at += 1.0;
            let mut decision = decided("team", "llama", replicas, desired);
            decision.hpa_tolerance = Some(0.1);
            publisher.publish(report(at, [decision]));
            replicas = followed(&mut client, replicas).await;
        }
        assert_eq!(replicas, desired);
    }
}
