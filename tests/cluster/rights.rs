//! The rights that the chart grants are those that the controller uses: the API server's own record of what its account asked for,
//! while it does all of its work, against the roles that the chart has made.

mod fleet;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding};
use kube::api::ListParams;
use kube::{Api, Client};
use wva_testbed::control_plane::audit::Request;
use wva_testbed::{eventually, or_skip};

use fleet::{NAMESPACE, RELEASE, Working};

/// Somebody may do this: (verb, group, resource).
type Right = (String, String, String);

/// A rule's rights; `names` is empty where any will do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Granted {
    right: Right,
    names: Vec<String>,
}

fn granted(rules: Option<Vec<PolicyRule>>) -> impl Iterator<Item = Granted> {
    rules.into_iter().flatten().flat_map(|rule| {
        let mut out = Vec::new();
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                for verb in &rule.verbs {
                    out.push(Granted {
                        right: (verb.clone(), group.clone(), resource.clone()),
                        names: rule.resource_names.clone().unwrap_or_default(),
                    });
                }
            }
        }
        out
    })
}

/// What the chart's own roles give to the controller's account. Two bindings are to roles of Kubernetes, for whoever serves an
/// aggregated API; those are not the chart's to narrow.
async fn granted_by_the_chart(admin: &Client) -> BTreeSet<Granted> {
    let all = ListParams::default();
    let ours = |subjects: Option<Vec<k8s_openapi::api::rbac::v1::Subject>>| {
        let mut subjects = subjects.into_iter().flatten();
        subjects.any(|s| s.namespace.as_deref() == Some(NAMESPACE) && s.name == RELEASE)
    };
    let mut out = BTreeSet::new();
    let roles: Api<Role> = Api::namespaced(admin.clone(), NAMESPACE);
    let bindings: Api<RoleBinding> = Api::namespaced(admin.clone(), NAMESPACE);
    for binding in bindings.list(&all).await.unwrap() {
        if ours(binding.subjects) {
            out.extend(granted(
                roles.get(&binding.role_ref.name).await.unwrap().rules,
            ));
        }
    }
    let roles: Api<ClusterRole> = Api::all(admin.clone());
    let bindings: Api<ClusterRoleBinding> = Api::all(admin.clone());
    for binding in bindings.list(&all).await.unwrap() {
        if ours(binding.subjects) && !binding.role_ref.name.starts_with("system:") {
            out.extend(granted(
                roles.get(&binding.role_ref.name).await.unwrap().rules,
            ));
        }
    }
    out
}

/// What the account asked for. An object that a patch makes needs the right to create it, too.
fn used(requests: &[Request]) -> BTreeMap<Right, BTreeSet<String>> {
    let mut out: BTreeMap<Right, BTreeSet<String>> = BTreeMap::new();
    for r in requests.iter().filter(|r| !r.resource.is_empty()) {
        let made = (r.verb == "patch" && r.code == 201).then_some("create");
        for verb in made.into_iter().chain([r.verb.as_str()]) {
            let right = (verb.to_owned(), r.group.clone(), r.resource.clone());
            out.entry(right).or_default().insert(r.name.clone());
        }
    }
    out
}

fn in_words((verb, group, resource): &Right) -> String {
    format!("{verb} {group}/{resource}")
}

fn of_account(working: &Working) -> Vec<Request> {
    let user = format!("system:serviceaccount:{NAMESPACE}:{RELEASE}");
    let requests = working.cluster.requests().unwrap().into_iter();
    requests.filter(|r| r.user == user).collect()
}

/// Rights of the chart that were not used so far.
fn unused(granted: &BTreeSet<Granted>, working: &Working) -> Vec<String> {
    let used = used(&of_account(working));
    let missed = granted.iter().filter(|g| {
        let names = used.get(&g.right);
        let fits = |names: &&BTreeSet<String>| {
            g.names.is_empty() || g.names.iter().any(|n| names.contains(n))
        };
        names.filter(fits).is_none()
    });
    missed.map(|g| in_words(&g.right)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_right_is_used_and_none_is_missing() {
    let Some(working) = or_skip(Working::start().await) else {
        return;
    };
    let admin = working.cluster.admin().client().await.unwrap();
    let granted = granted_by_the_chart(&admin).await;
    assert!(granted.len() > 40, "{granted:#?}");
    working.work().await;
    let rest = eventually("every right to be used", async || {
        let unused = unused(&granted, &working);
        match unused.as_slice() {
            [] => Ok(()),
            some => Err(format!("{some:#?}\n{}", working.log())),
        }
    });
    rest.await.unwrap();
    let refused = of_account(&working);
    let refused = refused.iter().filter(|r| matches!(r.code, 401 | 403));
    let refused: Vec<&Request> = refused.collect();
    assert!(refused.is_empty(), "{refused:#?}");
    let known: BTreeSet<&Right> = granted.iter().map(|g| &g.right).collect();
    let used = used(&of_account(&working));
    let elsewhere: Vec<String> = used
        .keys()
        .filter(|r| !known.contains(r))
        .map(in_words)
        .collect();
    // Those of the roles of Kubernetes: whom to trust, and what users may do.
    assert_eq!(
        elsewhere,
        [
            "create authentication.k8s.io/tokenreviews",
            "create authorization.k8s.io/subjectaccessreviews",
        ],
    );
}
