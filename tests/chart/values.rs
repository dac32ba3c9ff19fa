//! Values that make no sense are refused, in words that help.

use crate::rendered::template;

/// What helm says to these arguments.
fn refusal(arguments: &[&str]) -> Option<String> {
    match template("", arguments)? {
        Ok(_) => panic!("{arguments:?} is accepted"),
        Err(problem) => Some(problem),
    }
}

#[test]
fn the_schema_names_what_is_wrong() {
    for (argument, said) in [
        ("replica=2", &["replica"][..]),
        ("replicas=0", &["/replicas", "minimum"]),
        ("replicas=two", &["/replicas", "want integer"]),
        ("image.tag=1", &["/image/tag", "want string"]),
        ("image.digest=latest", &["/image/digest", "sha256"]),
        (
            "certificates.source=vault",
            &["/certificates/source", "'cert-manager'"],
        ),
        (
            "externalMetrics.port=443",
            &["/externalMetrics/port", "1,024"],
        ),
        ("externalmetrics.enabled=false", &["externalmetrics"]),
        ("scope.namespaces={Models}", &["/scope/namespaces/0"]),
        ("scope.stock=cloud", &["/scope/stock", "'unlimited'"]),
        (
            "settings.policy.cycle_second=5",
            &["/settings/policy", "cycle_second"],
        ),
        (
            "settings.policy.forecast_quantile=70",
            &["/settings/policy/forecast_quantile", "maximum"],
        ),
        (
            "settings.telemetry.prometheus.url=prometheus:9090",
            &["/settings/telemetry/prometheus/url"],
        ),
        (
            "settings.classes[0].ttft_ms.p99=500",
            &["/settings/classes/0", "name"],
        ),
        ("settings.serve.http=x", &["/settings", "serve"]),
        (
            "settings.stock.H100=-1",
            &["/settings/stock/H100", "minimum"],
        ),
        (
            "samples.create={Deployment}",
            &["/samples/create/0", "'ServiceClass'"],
        ),
        (
            "samples.costPerHour=2",
            &["/samples/costPerHour", "want string"],
        ),
        (
            "prometheusRule.disabled={Flapping}",
            &["/prometheusRule/disabled/0"],
        ),
        (
            "terminationGracePeriodSeconds=5",
            &["/terminationGracePeriodSeconds", "minimum"],
        ),
    ] {
        let Some(problem) = refusal(&["--set", argument]) else {
            return;
        };
        for word in said {
            assert!(
                problem.contains(word),
                "{argument}: {word} is not in\n{problem}"
            );
        }
    }
}

#[test]
fn contradictions_are_told_with_their_remedy() {
    for (arguments, said) in [
        (
            "externalMetrics.enabled=false,directScaling.enabled=false",
            "nothing would ever be scaled",
        ),
        (
            "settings.telemetry.pods=null",
            "load can be read from nowhere",
        ),
        (
            "keda.enabled=true,keda.tls=true",
            "set certificates.source to cert-manager or secret",
        ),
        (
            "certificates.source=secret",
            "name it in certificates.secret.name",
        ),
        (
            "certificates.source=secret,certificates.secret.name=tls",
            "certificates.secret.caBundle",
        ),
        (
            "samples.create={HorizontalPodAutoscaler,ScaledObject}",
            "would fight over one Deployment",
        ),
        ("serviceAccount.create=false", "name the account"),
    ] {
        let Some(problem) = refusal(&["--set", arguments]) else {
            return;
        };
        assert!(problem.contains(said), "{arguments}:\n{problem}");
    }
}
