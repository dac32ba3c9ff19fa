//! What the objects say.

use serde_json::{Value, json};

use crate::rendered::{ALL_VALUES, NAMESPACE, Rendered, VALUES, chart, chosen, helm};

#[test]
fn lint_finds_nothing() {
    for values in ALL_VALUES {
        let mut arguments = vec!["lint".to_owned(), "--strict".to_owned(), chart()];
        arguments.extend(chosen(values));
        let Some(outcome) = helm(&arguments) else {
            return;
        };
        outcome.unwrap_or_else(|problems| panic!("{values}: {problems}"));
    }
}

#[test]
fn objects_say_whose_they_are_and_where() {
    let without = [
        "APIService",
        "ClusterRole",
        "ClusterRoleBinding",
        // samples are the user's
        "HorizontalPodAutoscaler",
        "ScaledObject",
        "ServiceClass",
        "VariantAutoscaling",
    ];
    for values in VALUES {
        let Some(rendered) = Rendered::of(values) else {
            return;
        };
        for object in &rendered.objects {
            let (kind, meta) = (object["kind"].as_str().unwrap(), &object["metadata"]);
            if !without.contains(&kind) {
                assert!(meta["namespace"].is_string(), "{values}: {object}");
                assert_eq!(
                    meta["labels"]["app.kubernetes.io/name"], "wva",
                    "{values}: {object}"
                );
            }
        }
    }
}

#[test]
fn the_pod_may_do_as_little_as_it_can() {
    for values in VALUES {
        let Some(rendered) = Rendered::of(values) else {
            return;
        };
        let pod = &rendered.kind("Deployment")[0]["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(
            pod["securityContext"]["seccompProfile"]["type"],
            "RuntimeDefault"
        );
        let expected = json!({
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        });
        assert_eq!(rendered.container()["securityContext"], expected);
        for object in ["hostNetwork", "hostPID", "hostIPC"] {
            assert!(pod[object].is_null());
        }
        assert!(rendered.container()["resources"]["limits"]["memory"].is_string());
    }
}

#[test]
fn two_replicas_stay_apart_and_one_stays_up() {
    let Some(rendered) = Rendered::of("") else {
        return;
    };
    let spec = &rendered.kind("Deployment")[0]["spec"];
    assert_eq!(spec["replicas"], 2);
    assert_eq!(spec["strategy"]["rollingUpdate"]["maxUnavailable"], 0);
    let constraints = spec["template"]["spec"]["topologySpreadConstraints"]
        .as_array()
        .unwrap();
    assert_eq!(constraints.len(), 2);
    let labels = &spec["template"]["metadata"]["labels"];
    for selector in constraints
        .iter()
        .map(|c| &c["labelSelector"]["matchLabels"])
        .chain([&rendered.one("PodDisruptionBudget", "wva")["spec"]["selector"]["matchLabels"]])
        .chain([&spec["selector"]["matchLabels"]])
    {
        for (key, value) in selector.as_object().unwrap() {
            assert_eq!(&labels[key], value, "{selector}");
        }
    }
}

/// Names of the container's ports, with their numbers.
fn ports(rendered: &Rendered) -> Vec<(&str, u64)> {
    let ports = rendered.container()["ports"].as_array().unwrap();
    let named = ports.iter().map(|p| {
        (
            p["name"].as_str().unwrap(),
            p["containerPort"].as_u64().unwrap(),
        )
    });
    named.collect()
}

#[test]
fn ports_lead_to_what_listens() {
    for values in VALUES {
        let Some(rendered) = Rendered::of(values) else {
            return;
        };
        let ports = ports(&rendered);
        let settings: Value = serde_saphyr::from_str(rendered.settings()).unwrap();
        let serve = &settings["serve"];
        let listening = [
            ("http", &serve["http"]),
            ("metrics-api", &serve["external_metrics"]["listen"]),
            ("keda", &serve["keda"]["listen"]),
        ];
        for (name, address) in listening {
            let number = address
                .as_str()
                .map(|a| a.strip_prefix("0.0.0.0:").unwrap().parse().unwrap());
            let port = ports.iter().find(|p| p.0 == name).map(|p| p.1);
            assert_eq!(port, number, "{values}: {name}");
        }
        let services = rendered.kind("Service");
        let of_services = services
            .iter()
            .flat_map(|s| s["spec"]["ports"].as_array().unwrap());
        let targets = of_services.map(|p| &p["targetPort"]);
        let container = rendered.container();
        let probed = ["livenessProbe", "readinessProbe"].map(|p| &container[p]["httpGet"]["port"]);
        for target in targets.chain(probed) {
            assert!(
                ports.iter().any(|p| p.0 == target),
                "{values}: {target} of {ports:?}"
            );
        }
    }
}

#[test]
fn the_certificate_carries_the_name_that_the_api_server_asks_for() {
    let names = |owner: &Value| {
        let names = owner.as_array().unwrap().iter();
        names
            .map(|n| n.as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let Some(own) = Rendered::of("") else { return };
    let settings: Value = serde_saphyr::from_str(own.settings()).unwrap();
    let by_ourselves = names(&settings["serve"]["external_metrics"]["names"]);
    let full = Rendered::of("full").unwrap();
    let certificate = &full.one("Certificate", "wva-serving")["spec"];
    for rendered in [&own, &full] {
        let service = &rendered.kind("APIService")[0]["spec"]["service"];
        assert_eq!(service["namespace"], NAMESPACE);
        rendered.one("Service", service["name"].as_str().unwrap());
    }
    for found in [by_ourselves, names(&certificate["dnsNames"])] {
        assert!(found.contains(&format!("wva.{NAMESPACE}.svc")), "{found:?}");
    }
    // The Secret that cert-manager fills is the one that is mounted, where the settings say.
    let pod = &full.kind("Deployment")[0]["spec"]["template"]["spec"];
    let volumes = pod["volumes"].as_array().unwrap();
    let volume = volumes.iter().find(|v| v["name"] == "certificate").unwrap();
    assert_eq!(volume["secret"]["secretName"], certificate["secretName"]);
    let mounts = full.container()["volumeMounts"].as_array().unwrap();
    let mount = mounts.iter().find(|m| m["name"] == "certificate").unwrap();
    let settings: Value = serde_saphyr::from_str(full.settings()).unwrap();
    let file = format!("{}/tls.crt", mount["mountPath"].as_str().unwrap());
    for server in ["external_metrics", "keda"] {
        assert_eq!(settings["serve"][server]["certificate"]["chain_file"], file);
    }
}

#[test]
fn other_settings_are_other_pods() {
    let checksum = |rendered: &Rendered| {
        let template = &rendered.kind("Deployment")[0]["spec"]["template"];
        template["metadata"]["annotations"]["checksum/settings"].clone()
    };
    let Some(one) = Rendered::of("") else { return };
    let same = Rendered::with("", &["--set=replicas=3"]).unwrap();
    let other = Rendered::with("", &["--set=settings.policy.cycle_seconds=20"]).unwrap();
    assert_eq!(checksum(&one), checksum(&same));
    assert_ne!(checksum(&one), checksum(&other));
}

#[test]
fn an_old_cluster_is_not_given_the_tolerance_that_it_would_refuse() {
    let tolerance = |version: &str| {
        let version = format!("--kube-version={version}");
        let sample = "--set=samples.create={HorizontalPodAutoscaler}";
        let rendered = Rendered::with("", &[&version, sample])?;
        let hpa = rendered.kind("HorizontalPodAutoscaler")[0].clone();
        Some(hpa["spec"]["behavior"]["scaleUp"]["tolerance"].clone())
    };
    let Some(old) = tolerance("1.31.4") else {
        return;
    };
    assert_eq!(old, Value::Null);
    assert_eq!(tolerance("1.33.0").unwrap(), "0");
}
