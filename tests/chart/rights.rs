//! What wva may do, as the chart asks for it: all that it needs, nothing more, and each with its reason.

use std::collections::BTreeSet;

use serde_json::Value;
use wva_controllers::index::Kind;

use crate::rendered::{ALL_VALUES, NAMESPACE, Rendered, VALUES};

fn texts(list: &Value) -> Vec<&str> {
    let list = list.as_array().into_iter().flatten();
    list.map(|text| text.as_str().unwrap()).collect()
}

/// One thing that somebody may do: verb, group, resource, and perhaps the only names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    verb: String,
    group: String,
    resource: String,
    names: Vec<String>,
}

fn rights(role: &Value) -> BTreeSet<Right> {
    let rules = role["rules"].as_array().into_iter().flatten();
    let each = rules.flat_map(|rule| {
        let names: Vec<String> = texts(&rule["resourceNames"])
            .iter()
            .map(|&n| n.to_owned())
            .collect();
        let groups = texts(&rule["apiGroups"]);
        groups.into_iter().flat_map(move |group| {
            let names = names.clone();
            texts(&rule["resources"])
                .into_iter()
                .flat_map(move |resource| {
                    let names = names.clone();
                    texts(&rule["verbs"]).into_iter().map(move |verb| Right {
                        verb: verb.into(),
                        group: group.into(),
                        resource: resource.into(),
                        names: names.clone(),
                    })
                })
        })
    });
    each.collect()
}

/// What the controller's own account may do anywhere, by roles of the chart.
fn granted(rendered: &Rendered) -> BTreeSet<Right> {
    let bindings = rendered.objects.iter().filter(|o| o["roleRef"].is_object());
    let bound: Vec<&str> = bindings
        .map(|b| b["roleRef"]["name"].as_str().unwrap())
        .collect();
    let roles = rendered.objects.iter().filter(|o| {
        let name = o["metadata"]["name"].as_str().unwrap();
        ["Role", "ClusterRole"].contains(&o["kind"].as_str().unwrap()) && bound.contains(&name)
    });
    roles.flat_map(rights).collect()
}

#[test]
fn every_rule_says_why() {
    for values in ALL_VALUES {
        let Some(rendered) = Rendered::of(values) else {
            return;
        };
        let lines: Vec<&str> = rendered.text.lines().collect();
        let rules = lines
            .windows(2)
            .filter(|two| two[1].trim_start().starts_with("- apiGroups:"));
        let mut count = 0;
        for two in rules {
            assert!(
                two[0].trim_start().starts_with("# "),
                "{values}: no comment before {}",
                two[1]
            );
            count += 1;
        }
        assert!(count > 10);
    }
}

#[test]
fn whatever_is_watched_may_be_listed_and_watched() {
    let Some(rendered) = Rendered::of("") else {
        return;
    };
    let granted = granted(&rendered);
    for kind in Kind::ALL {
        let (version, _, plural) = kind.names();
        let group = version.split_once('/').map_or("", |(group, _)| group);
        for verb in ["list", "watch"] {
            let right = Right {
                verb: verb.into(),
                group: group.into(),
                resource: plural.into(),
                names: Vec::new(),
            };
            assert!(granted.contains(&right), "{right:?}");
        }
    }
}

/// `verb group/resource[names]` of everything beyond list and watch.
fn beyond_watching(rendered: &Rendered) -> Vec<String> {
    let granted = granted(rendered);
    let beyond = granted
        .iter()
        .filter(|r| !["list", "watch"].contains(&r.verb.as_str()));
    beyond
        .map(|r| format!("{} {}/{}{:?}", r.verb, r.group, r.resource, r.names))
        .collect()
}

const OWN: [&str; 6] = [
    r#"create /configmaps[]"#,
    r#"create coordination.k8s.io/leases[]"#,
    r#"get /configmaps["wva-state"]"#,
    r#"get coordination.k8s.io/leases["wva"]"#,
    r#"patch /configmaps["wva-state"]"#,
    r#"update coordination.k8s.io/leases["wva"]"#,
];

const FLEET: [&str; 4] = [
    "create events.k8s.io/events[]",
    "patch /pods[]",
    "patch events.k8s.io/events[]",
    "patch llmd.ai/variantautoscalings/status[]",
];

const SCALES: [&str; 6] = [
    "get apps/deployments/scale[]",
    "get apps/statefulsets/scale[]",
    "get leaderworkerset.x-k8s.io/leaderworkersets/scale[]",
    "patch apps/deployments/scale[]",
    "patch apps/statefulsets/scale[]",
    "patch leaderworkerset.x-k8s.io/leaderworkersets/scale[]",
];

const SERVING: [&str; 4] = [
    r#"get /secrets["wva-authority"]"#,
    r#"get apiregistration.k8s.io/apiservices["v1beta1.external.metrics.k8s.io"]"#,
    r#"patch apiregistration.k8s.io/apiservices["v1beta1.external.metrics.k8s.io"]"#,
    r#"update /secrets["wva-authority"]"#,
];

#[test]
fn nothing_else_may_be_done() {
    for (values, more) in [
        ("", vec![&SCALES[..], &SERVING]),
        ("keda", vec![&SCALES[..]]),
        ("namespaced", vec![]),
    ] {
        let Some(rendered) = Rendered::of(values) else {
            return;
        };
        let mut expected: Vec<&str> = [&OWN[..], &FLEET].concat();
        expected.extend(more.into_iter().flatten());
        expected.sort_unstable();
        let mut found = beyond_watching(&rendered);
        found.sort_unstable();
        assert_eq!(found, expected, "{values}");
    }
}

/// Pods of model servers are changed for one purpose only.
#[test]
fn pods_may_be_patched_where_deletion_costs_are_set() {
    // In roles of the cluster, and of a namespace: those that label the leader, which the former do as well.
    let patches = |on: &[&str]| {
        let rendered = Rendered::with("", on)?;
        let of = |kind: &str| {
            let roles = rendered.kind(kind).into_iter().flat_map(rights);
            let pods = roles.filter(|r| r.resource == "pods" && r.verb == "patch");
            pods.count()
        };
        Some((of("ClusterRole"), of("Role")))
    };
    let on = "--set=exchange.enabled=true";
    let Some(with) = patches(&[on]) else { return };
    let off = patches(&[on, "--set=exchange.deletionCost=false"]);
    assert_eq!((with, off), ((1, 0), Some((0, 1))));
    assert_eq!(patches(&[]), Some((0, 1)));
    let models = "--set=scope.namespaces={models-a}";
    assert_eq!(patches(&[on, models]), Some((0, 2)));
    let here = format!("--set=scope.namespaces={{{NAMESPACE}}}");
    assert_eq!(patches(&[on, &here]), Some((0, 1)));
}

#[test]
fn wildcards_are_not_needed() {
    for values in ALL_VALUES {
        let Some(rendered) = Rendered::of(values) else {
            return;
        };
        for object in rendered.objects.iter().filter(|o| o["rules"].is_array()) {
            for right in rights(object) {
                let words = [&right.verb, &right.group, &right.resource];
                assert!(words.iter().all(|w| !w.contains('*')), "{right:?}");
                let secret = right.resource == "secrets";
                assert!(!secret || right.names.len() == 1, "{right:?}");
            }
        }
    }
}

/// Namespaces in which the roles of the chart are, and kinds of objects without one.
fn reach(rendered: &Rendered) -> (BTreeSet<&str>, Vec<&str>) {
    let with_rights = rendered
        .objects
        .iter()
        .filter(|o| o["roleRef"].is_object() || o["rules"].is_array());
    let mut namespaces = BTreeSet::new();
    let mut without = Vec::new();
    for object in with_rights {
        match object["metadata"]["namespace"].as_str() {
            Some(namespace) => drop(namespaces.insert(namespace)),
            None => without.push(object["roleRef"]["name"].as_str().unwrap_or("a role")),
        }
    }
    (namespaces, without)
}

#[test]
fn rights_end_where_the_scope_does() {
    let Some(keda) = Rendered::of("keda") else {
        return;
    };
    let (namespaces, without) = reach(&keda);
    assert_eq!(namespaces, BTreeSet::from([NAMESPACE, "models-a"]));
    assert!(without.is_empty(), "{without:?}");
    assert!(keda.kind("APIService").is_empty());
    // External metrics are known to the whole cluster, so the API server has to be asked about whoever asks.
    let namespaced = Rendered::of("namespaced").unwrap();
    let (namespaces, without) = reach(&namespaced);
    let expected = BTreeSet::from([NAMESPACE, "kube-system", "models-a", "models-b"]);
    assert_eq!(namespaces, expected);
    assert_eq!(without, ["system:auth-delegator"]);
}

/// Every binding gives to the account under which the pods run, and to nobody else.
#[test]
fn rights_are_given_to_the_pods_only() {
    for values in VALUES {
        let Some(rendered) = Rendered::of(values) else {
            return;
        };
        let pod = &rendered.kind("Deployment")[0]["spec"]["template"]["spec"];
        let account = &pod["serviceAccountName"];
        for binding in rendered.objects.iter().filter(|o| o["roleRef"].is_object()) {
            let [subject] = binding["subjects"].as_array().unwrap().as_slice() else {
                panic!("{binding}");
            };
            assert_eq!(subject["kind"], "ServiceAccount");
            assert_eq!(
                (&subject["name"], &subject["namespace"]),
                (account, &NAMESPACE.into())
            );
        }
    }
}
