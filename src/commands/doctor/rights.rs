//! May the controller do what it has to? Asked of the API server, right by right.
//!
//! With the account of the controller known, its rights are reviewed (`SubjectAccessReview`, which takes the right to do
//! so); otherwise one's own are (`SelfSubjectAccessReview`), which is the same when this runs as the controller does.

use std::collections::BTreeMap;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
    SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use wva_controllers::index::Kind;
use wva_controllers::settings::Settings;

use super::evidence::{EXTERNAL_METRICS, Evidence};
use super::finding::Examination;
use crate::cluster::deepest;
use crate::cluster::objects::{Listing, Objects};

/// Something that the controller has to be allowed to do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    group: &'static str,
    /// Resource, with its subresource as `deployments/scale`.
    resource: &'static str,
    verb: &'static str,
    /// Namespace; `None` for all, or for what has none.
    namespace: Option<String>,
    /// The one object that it is about; `None` for any.
    name: Option<String>,
    /// Whether nothing works without it.
    essential: bool,
}

/// A right and whether it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    right: Right,
    allowed: bool,
}

/// For what rights are needed.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The namespace that is looked at; `None` for all.
    pub namespace: Option<&'a str>,
    /// The controller's own namespace, as far as it is known.
    pub home: Option<&'a str>,
    /// What it is configured to do.
    pub settings: &'a Settings,
}

/// Everything that the controller has to be allowed to do, for the kinds that this cluster has.
pub fn needed(objects: &Objects, scope: &Scope<'_>) -> Vec<Right> {
    let mut rights = Rights::default();
    let watched = &scope.settings.watch.namespaces;
    let places: Vec<Option<&str>> = match scope.namespace {
        Some(namespace) => vec![Some(namespace)],
        None if watched.is_empty() => vec![None],
        None => watched.iter().map(|n| Some(n.as_str())).collect(),
    };
    let has = |kind: Kind| *objects.listing(kind) != Listing::Absent;
    for place in places {
        rights.fleet(&has, place);
    }
    // An installation for some namespaces can do without: it knows no nodes and no prices of the cluster then.
    let essential = watched.is_empty();
    for kind in Kind::ALL
        .into_iter()
        .filter(|k| !k.is_namespaced() && has(*k))
    {
        let (group, plural) = address(kind);
        rights.add(group, plural, &["list", "watch"], None, essential);
    }
    if let Some(home) = scope.home {
        rights.own(home, scope.settings);
    }
    rights.0
}

#[derive(Default)]
struct Rights(Vec<Right>);

impl Rights {
    fn add(
        &mut self,
        group: &'static str,
        resource: &'static str,
        verbs: &[&'static str],
        place: Option<&str>,
        essential: bool,
    ) {
        self.0.extend(verbs.iter().map(|verb| Right {
            group,
            resource,
            verb,
            namespace: place.map(str::to_owned),
            name: None,
            essential,
        }));
    }

    /// The same about one object.
    fn named(
        &mut self,
        group: &'static str,
        resource: &'static str,
        verbs: &[&'static str],
        (place, name): (Option<&str>, &str),
        essential: bool,
    ) {
        let before = self.0.len();
        self.add(group, resource, verbs, place, essential);
        for right in &mut self.0[before..] {
            right.name = Some(name.to_owned());
        }
    }

    /// About model servers, where they are.
    fn fleet(&mut self, has: &impl Fn(Kind) -> bool, place: Option<&str>) {
        for kind in Kind::ALL {
            if kind.is_namespaced() && has(kind) && kind != Kind::ConfigMap {
                let (group, plural) = address(kind);
                self.add(group, plural, &["list", "watch"], place, true);
            }
        }
        if has(Kind::VariantAutoscaling) {
            let (group, _) = address(Kind::VariantAutoscaling);
            self.add(group, "variantautoscalings/status", &["patch"], place, true);
        }
        let scale = ["get", "patch"];
        // Where HPAs or KEDA scale everything, nothing is patched.
        self.add("apps", "deployments/scale", &scale, place, false);
        self.add("apps", "statefulsets/scale", &scale, place, false);
        if has(Kind::LeaderWorkerSet) {
            let (group, _) = address(Kind::LeaderWorkerSet);
            self.add(group, "leaderworkersets/scale", &scale, place, false);
        }
        self.add(
            "events.k8s.io",
            "events",
            &["create", "patch"],
            place,
            false,
        );
    }

    /// About the installation itself.
    fn own(&mut self, home: &str, settings: &Settings) {
        let place = Some(home);
        let lease = settings.leader.lease.as_str();
        if settings.leader.elect {
            let group = "coordination.k8s.io";
            self.named(group, "leases", &["get", "update"], (place, lease), true);
            self.add(group, "leases", &["create"], place, true);
        }
        let state = format!("{lease}-state");
        self.named("", "configmaps", &["get", "patch"], (place, &state), false);
        self.add("", "configmaps", &["list", "watch", "create"], place, false);
        self.add("", "pods", &["patch"], place, false);
        let Some(serving) = &settings.serve.external_metrics else {
            return;
        };
        self.add(
            "authentication.k8s.io",
            "tokenreviews",
            &["create"],
            None,
            true,
        );
        self.add(
            "authorization.k8s.io",
            "subjectaccessreviews",
            &["create"],
            None,
            true,
        );
        let trust = (Some("kube-system"), "extension-apiserver-authentication");
        self.named("", "configmaps", &["get", "list", "watch"], trust, true);
        if serving.authority_secret.is_some() {
            let group = "apiregistration.k8s.io";
            let registration = (None, EXTERNAL_METRICS);
            self.named(group, "apiservices", &["get", "patch"], registration, true);
        }
    }
}

fn address(kind: Kind) -> (&'static str, &'static str) {
    let (api_version, _, plural) = kind.names();
    (
        api_version.split_once('/').map_or("", |(group, _)| group),
        plural,
    )
}

/// Asks about one right.
pub async fn review(
    client: &Client,
    account: Option<&str>,
    right: Right,
) -> Result<Review, String> {
    let (resource, subresource) = match right.resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource)),
        None => (right.resource, None),
    };
    let attributes = ResourceAttributes {
        group: Some(right.group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource: subresource.map(str::to_owned),
        verb: Some(right.verb.to_owned()),
        namespace: right.namespace.clone(),
        name: right.name.clone(),
        ..ResourceAttributes::default()
    };
    let parameters = PostParams::default();
    let status = match account {
        Some(account) => {
            let (namespace, _) = account.split_once(':').unwrap_or((account, ""));
            let asked = SubjectAccessReview {
                spec: SubjectAccessReviewSpec {
                    user: Some(format!("system:serviceaccount:{account}")),
                    groups: Some(vec![
                        "system:serviceaccounts".to_owned(),
                        format!("system:serviceaccounts:{namespace}"),
                        "system:authenticated".to_owned(),
                    ]),
                    resource_attributes: Some(attributes),
                    ..SubjectAccessReviewSpec::default()
                },
                ..SubjectAccessReview::default()
            };
            let api: Api<SubjectAccessReview> = Api::all(client.clone());
            api.create(&parameters, &asked).await.map(|r| r.status)
        }
        None => {
            let asked = SelfSubjectAccessReview {
                spec: SelfSubjectAccessReviewSpec {
                    resource_attributes: Some(attributes),
                    ..SelfSubjectAccessReviewSpec::default()
                },
                ..SelfSubjectAccessReview::default()
            };
            let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
            api.create(&parameters, &asked).await.map(|r| r.status)
        }
    };
    let allowed = status.map_err(|e| deepest(&e))?.is_some_and(|s| s.allowed);
    Ok(Review { right, allowed })
}

/// Judges the rights.
pub fn judge(evidence: &Evidence, exam: &mut Examination) {
    exam.area("rights of the controller");
    let reviews = match &evidence.reviews {
        Ok(reviews) => reviews,
        Err(why) => return exam.not_done(why.clone()),
    };
    exam.looked_at(reviews.len());
    // One rule each, with the verbs that are missing.
    let mut missing: BTreeMap<Right, Vec<&str>> = BTreeMap::new();
    for review in reviews.iter().filter(|r| !r.allowed) {
        let rule = Right {
            verb: "",
            ..review.right.clone()
        };
        missing.entry(rule).or_default().push(review.right.verb);
    }
    for (right, verbs) in missing {
        let (verbs, resource) = (verbs.join(", "), right.resource);
        let named = right.name.as_ref();
        let object = named.map_or_else(String::new, |n| format!(" {n}"));
        let only = named.map_or_else(String::new, |n| format!(", resourceNames: [{n}]"));
        let (role, place) = match &right.namespace {
            None => ("ClusterRole".to_owned(), String::new()),
            Some(place) => (format!("Role in {place}"), format!(" in {place}")),
        };
        let problem = format!("may not {verbs} {resource}{object}{place}");
        let fix = format!(
            "add to its {role}:\n- {{apiGroups: [\"{}\"], resources: [\"{resource}\"]{only}, verbs: [{verbs}]}}",
            right.group
        );
        let object = if evidence.account == "you" {
            "you".to_owned()
        } else {
            format!("ServiceAccount {}", evidence.account.replacen(':', "/", 1))
        };
        if right.essential {
            exam.error("MissingRight", object, problem, fix);
        } else {
            exam.warning("MissingRight", object, problem, fix);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_asked_for_what_the_cluster_has() {
        let mut objects = Objects::default();
        objects.add(Kind::Deployment, []);
        let settings = crate::cluster::contact::defaults();
        let scope = Scope {
            namespace: None,
            home: Some("wva-system"),
            settings: &settings,
        };
        let rights = needed(&objects, &scope);
        let has = |resource: &str, verb: &str, place: Option<&str>| {
            rights
                .iter()
                .any(|r| (r.resource, r.verb, r.namespace.as_deref()) == (resource, verb, place))
        };
        assert!(has("deployments", "watch", None));
        assert!(has("leases", "update", Some("wva-system")));
        assert!(!has("scaledobjects", "list", None), "KEDA is not there");
        assert!(!has("leaderworkersets/scale", "get", None));
        assert!(!has("tokenreviews", "create", None), "nothing is served");
    }
}
