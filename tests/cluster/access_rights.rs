//! The rights that the chart grants are those that are used: the API server's own record of what an account asked for while it
//! does all of its work, against the roles that the chart has made; and what is refused once a single right is taken away.

mod fleet;
mod removal;

use std::collections::BTreeSet;
use std::process::Command;

use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, Subject,
};
use kube::api::ListParams;
use kube::{Api, Client};
use wva_testbed::control_plane::audit::Request;
use wva_testbed::process::Process;
use wva_testbed::{Access, ControlPlane, eventually, or_skip};

use fleet::{CONFINED, EVERYWHERE, KEDA, RELEASE, Working, ground};

/// Somebody may do this: (verb, group, resource).
type Right = (String, String, String);

/// A right in a namespace, or in all of the cluster; `names` is empty where any will do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Granted {
    right: Right,
    names: Vec<String>,
    namespace: Option<String>,
}

impl Granted {
    /// Whether it is what allows a request. An object that a patch makes needs the right to create it, too.
    fn allows(&self, request: &Request) -> bool {
        let (verb, group, resource) = &self.right;
        let made = request.verb == "patch" && request.code == 201 && verb == "create";
        let fits = |name: &String| *name == request.name;
        (made || *verb == request.verb)
            && (group, resource) == (&request.group, &request.resource)
            && (self.names.is_empty() || self.names.iter().any(fits))
            && self
                .namespace
                .as_ref()
                .is_none_or(|n| *n == request.namespace)
    }
}

impl std::fmt::Display for Granted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.names.join(", ");
        let place = self.namespace.as_deref().unwrap_or("everywhere");
        write!(f, "{} {names} in {place}", in_words(&self.right))
    }
}

/// Whose rights: (namespace, name) of a service account.
type Account<'a> = (&'a str, &'a str);

fn granted(rules: Option<Vec<PolicyRule>>, namespace: Option<&str>) -> Vec<Granted> {
    let mut out = Vec::new();
    for rule in rules.into_iter().flatten() {
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                out.extend(rule.verbs.iter().map(|verb| Granted {
                    right: (verb.clone(), group.clone(), resource.clone()),
                    names: rule.resource_names.clone().unwrap_or_default(),
                    namespace: namespace.map(str::to_owned),
                }));
            }
        }
    }
    out
}

/// What the chart's own roles give to the account. Two bindings are to roles of Kubernetes, for whoever serves an
/// aggregated API; those are not the chart's to narrow.
async fn granted_by_the_chart(admin: &Client, account: Account<'_>) -> BTreeSet<Granted> {
    let all = ListParams::default();
    let ours = |subjects: Option<Vec<Subject>>| {
        let mut subjects = subjects.into_iter().flatten();
        subjects.any(|s| (s.namespace.as_deref(), s.name.as_str()) == (Some(account.0), account.1))
    };
    let mut out = BTreeSet::new();
    let bindings: Api<RoleBinding> = Api::all(admin.clone());
    for binding in bindings.list(&all).await.unwrap() {
        let namespace = binding.metadata.namespace.unwrap();
        if ours(binding.subjects) && namespace != "kube-system" {
            let roles: Api<Role> = Api::namespaced(admin.clone(), &namespace);
            let role = roles.get(&binding.role_ref.name).await.unwrap();
            out.extend(granted(role.rules, Some(&namespace)));
        }
    }
    let roles: Api<ClusterRole> = Api::all(admin.clone());
    let bindings: Api<ClusterRoleBinding> = Api::all(admin.clone());
    for binding in bindings.list(&all).await.unwrap() {
        if ours(binding.subjects) && !binding.role_ref.name.starts_with("system:") {
            let role = roles.get(&binding.role_ref.name).await.unwrap();
            out.extend(granted(role.rules, None));
        }
    }
    out
}

fn in_words((verb, group, resource): &Right) -> String {
    format!("{verb} {group}/{resource}")
}

/// The right that a request needs.
fn needed(request: &Request) -> String {
    let Request {
        verb,
        group,
        resource,
        ..
    } = request;
    in_words(&(verb.clone(), group.clone(), resource.clone()))
}

/// What an account asked for: of resources, and of nothing that has none.
fn asked(cluster: &ControlPlane, account: Account<'_>) -> Vec<Request> {
    let user = format!("system:serviceaccount:{}:{}", account.0, account.1);
    let requests = cluster.requests().unwrap().into_iter();
    let ours = requests.filter(|r| r.user == user && !r.resource.is_empty());
    ours.collect()
}

/// Waits until the account has used each of its rights, while whoever has it works, and sees that it was refused nothing but what is
/// expected; returns the rights and the requests.
async fn all_used(
    cluster: &ControlPlane,
    account: Account<'_>,
    expected: &[&str],
    log: impl Fn() -> String,
) -> (BTreeSet<Granted>, Vec<Request>) {
    let admin = cluster.admin().client().await.unwrap();
    let granted = granted_by_the_chart(&admin, account).await;
    let rest = eventually("every right to be used", async || {
        let asked = asked(cluster, account);
        let used = |g: &&Granted| asked.iter().any(|r| g.allows(r));
        let unused: Vec<String> = granted
            .iter()
            .filter(|g| !used(g))
            .map(Granted::to_string)
            .collect();
        match unused.as_slice() {
            [] => Ok(()),
            some => Err(format!("{some:#?}\n{}", log())),
        }
    });
    rest.await.unwrap();
    let asked = asked(cluster, account);
    let refused = asked.iter().filter(|r| matches!(r.code, 401 | 403));
    let refused = refused.map(needed);
    let refused: BTreeSet<String> = refused.collect();
    let expected = expected.iter().map(|r| (*r).to_owned()).collect();
    assert_eq!(refused, expected);
    (granted, asked)
}

/// What was done that none of the chart's roles allows: what those of Kubernetes do, for an aggregated API.
fn elsewhere(granted: &BTreeSet<Granted>, asked: &[Request]) -> BTreeSet<String> {
    let done = asked.iter().filter(|r| r.code != 403);
    let elsewhere = done.filter(|r| !granted.iter().any(|g| g.allows(r)));
    elsewhere.map(needed).collect()
}

/// Has a release do all of its work, sees that every right was used, and takes each away.
async fn proven(working: &Working<'_>, least: usize) -> BTreeSet<String> {
    working.work().await;
    let cluster = &working.ground.cluster;
    let account = (working.system.as_str(), RELEASE);
    // What is decided while an API server is too slow for a leader to lead is told by no event: there is more to decide.
    let used = all_used(cluster, account, working.form.refused, || working.log());
    let (granted, asked) = tokio::select! {
        used = used => used,
        () = working.go_on() => unreachable!("it goes on for ever"),
    };
    assert!(granted.len() >= least, "{granted:#?}");
    working.end().await;
    removal::each_is_needed(working, account, &granted, &asked).await;
    elsewhere(&granted, &asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_right_is_used_and_none_can_be_spared() {
    let Some(ground) = or_skip(ground().await) else {
        return;
    };
    let working = Working::start(&ground, &EVERYWHERE).await.unwrap();
    // Whoever it is: its own rights are tested below.
    let _picker = picker(&working, ground.cluster.admin());
    let elsewhere = proven(&working, 40).await;
    // Those of the roles of Kubernetes: whom to trust, and what users may do.
    let elsewhere: Vec<&str> = elsewhere.iter().map(String::as_str).collect();
    assert_eq!(
        elsewhere,
        [
            "create authentication.k8s.io/tokenreviews",
            "create authorization.k8s.io/subjectaccessreviews",
            "list /configmaps",
            "watch /configmaps",
        ],
    );
}

/// The same of releases that are confined to namespaces: one for HPAs, one for KEDA with an endpoint picker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn confined_releases_have_no_right_to_spare_either() {
    let Some(ground) = or_skip(ground().await) else {
        return;
    };
    let confined = Working::start(&ground, &CONFINED).await.unwrap();
    let keda = Working::start(&ground, &KEDA).await.unwrap();
    let namespace = &keda.site.namespace;
    let account = ground.cluster.service_account(namespace, PICKER).await;
    let picker = picker(&keda, &account.unwrap());
    let ((), ()) = tokio::join!(
        async {
            proven(&confined, 30).await;
        },
        async {
            let elsewhere = proven(&keda, 30).await;
            assert!(elsewhere.is_empty(), "{elsewhere:?}");
        },
    );
    let account = (keda.site.namespace.as_str(), PICKER);
    let (granted, asked) = all_used(&ground.cluster, account, &[], || picker.log()).await;
    assert!(granted.len() >= 10, "{granted:#?}");
    removal::each_is_needed(&keda, account, &granted, &asked).await;
    assert!(elsewhere(&granted, &asked).is_empty());
}

/// The account of the chart's endpoint picker.
const PICKER: &str = "wva-epp";

/// The endpoint picker of a release, under this account.
fn picker(working: &Working<'_>, account: &Access) -> Process {
    let cluster = &working.ground.cluster;
    let namespace = &working.site.namespace;
    let mut command = Command::new(env!("CARGO_BIN_EXE_wva"));
    command
        .args(["epp", "--pool-name=llama", "--secure-serving=false"])
        .arg(format!("--pool-namespace={namespace}"))
        .arg(format!("--bind-address={}", cluster.host()))
        .arg(format!("--kubeconfig={}", account.kubeconfig().display()))
        .args(working.pushes());
    Process::start(cluster.sandbox(), "epp", &mut command).unwrap()
}
