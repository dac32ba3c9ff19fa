//! Each right is needed: an account that has all of them but one is refused what that one allows.
//!
//! ```text
//! rights 1 … n ─► n roles of a single right each ─► bound to `whole`, and to `without-i` for all i but their own
//! requests of the real controller ─ sent again as `whole` ─► none is refused
//!                                 └ sent again as `without-i` ─► refused are those that right i allows, and no other
//! ```
//! Sent again as dry runs, by impersonation: a controller per right would take an hour, and would show the same refusals. Bodies
//! are empty, since the API server asks for rights before it reads any (but where a patch makes an object).

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, stream};
use http::Request as HttpRequest;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use wva_testbed::control_plane::audit::Request;
use wva_testbed::eventually;

use super::fleet::Working;
use super::{Account, Granted};

/// Requests under way at once.
const AT_ONCE: usize = 16;

/// Takes each right away and asks again what the account had asked for.
pub async fn each_is_needed(
    working: &Working<'_>,
    account: Account<'_>,
    granted: &BTreeSet<Granted>,
    asked: &[Request],
) {
    let client = working.site.client.clone();
    let granted: Vec<&Granted> = granted.iter().collect();
    let label = format!("{}-{}", account.0, account.1);
    for (index, right) in granted.iter().enumerate() {
        for object in single(&label, index, granted.len(), right) {
            working.site.apply(&object).await;
        }
    }
    forget_what_was_made(working, asked).await;
    let calls = distinct(&granted, asked);
    let whole = user(&label, None);
    eventually("all rights together to do", async || {
        match refused(&client, &whole, &calls).await.as_slice() {
            [] => Ok(()),
            some => Err(format!("{some:#?}")),
        }
    })
    .await
    .unwrap();
    println!(
        "{label}: {} rights, {} requests sent again",
        granted.len(),
        calls.len()
    );
    for (index, right) in granted.iter().enumerate() {
        let near = |c: &&&Request| (&c.group, &c.resource) == (&right.right.1, &right.right.2);
        let near: Vec<&Request> = calls.iter().filter(near).copied().collect();
        let refused = refused(&client, &user(&label, Some(index)), &near).await;
        assert!(!refused.is_empty(), "{right} is not needed: {near:#?}");
        assert!(
            refused.iter().all(|r| right.allows(r)),
            "{right}: {refused:#?}"
        );
        let first = refused[0];
        println!(
            "  without {right}: {} refused, as {} {}",
            refused.len(),
            first.verb,
            first.uri
        );
    }
}

fn user(label: &str, without: Option<usize>) -> String {
    without.map_or_else(
        || format!("{label}-whole"),
        |i| format!("{label}-without-{i}"),
    )
}

/// A role with one right, and its binding to everybody but who is to lack it.
fn single(label: &str, index: usize, of: usize, right: &Granted) -> [Value; 2] {
    let name = format!("{label}-only-{index}");
    let kind = if right.namespace.is_some() {
        ""
    } else {
        "Cluster"
    };
    let (verb, group, resource) = &right.right;
    let mut rule = json!({"apiGroups": [group], "resources": [resource], "verbs": [verb]});
    if !right.names.is_empty() {
        rule["resourceNames"] = json!(right.names);
    }
    let others = (0..of).filter(|i| *i != index).map(Some);
    let users = others.chain([None]).map(|without| user(label, without));
    let subjects = users.map(|name| json!({"kind": "User", "name": name, "apiGroup": GROUP}));
    let metadata = json!({"name": name, "namespace": right.namespace});
    let version = format!("{GROUP}/v1");
    [
        json!({"apiVersion": version, "kind": format!("{kind}Role"), "metadata": metadata, "rules": [rule]}),
        json!({
            "apiVersion": version,
            "kind": format!("{kind}RoleBinding"),
            "metadata": metadata,
            "roleRef": {"apiGroup": GROUP, "kind": format!("{kind}Role"), "name": name},
            "subjects": subjects.collect::<Vec<_>>(),
        }),
    ]
}

const GROUP: &str = "rbac.authorization.k8s.io";

/// What a patch has made is patched once it is there: away with it, so that it would be made again.
async fn forget_what_was_made(working: &Working<'_>, asked: &[Request]) {
    let made = asked.iter().filter(|r| r.verb == "patch" && r.code == 201);
    let made: BTreeSet<(&str, &str)> = made
        .map(|r| (r.resource.as_str(), r.name.as_str()))
        .collect();
    for (resource, name) in made {
        assert_eq!(resource, "configmaps");
        let delete = [
            "delete",
            resource,
            name,
            "-n",
            &working.system,
            "--ignore-not-found",
        ];
        working.site.admin().kubectl(&delete).await.unwrap();
    }
}

/// One request of each sort, of those that the chart's rights are for.
fn distinct<'r>(granted: &[&Granted], asked: &'r [Request]) -> Vec<&'r Request> {
    let mut out = BTreeMap::new();
    for r in asked.iter().filter(|r| granted.iter().any(|g| g.allows(r))) {
        let made = r.verb == "patch" && r.code == 201;
        let names = granted.iter().any(|g| g.allows(r) && !g.names.is_empty());
        let name = if names { r.name.as_str() } else { "" };
        let sort = (&r.verb, &r.group, &r.resource, &r.namespace, name, made);
        out.entry(sort).or_insert(r);
    }
    out.into_values().collect()
}

/// Those of the requests that this user is refused.
async fn refused<'r>(client: &Client, user: &str, calls: &[&'r Request]) -> Vec<&'r Request> {
    let sent = calls.iter().map(|call| async move {
        let answer = client.send(again(call, user)).await.unwrap();
        (answer.status() == 403).then_some(*call)
    });
    stream::iter(sent)
        .buffered(AT_ONCE)
        .filter_map(async |r| r)
        .collect()
        .await
}

/// The same request as this user, changing nothing.
fn again(call: &Request, user: &str) -> HttpRequest<Body> {
    let (path, query) = call.uri.split_once('?').unwrap_or((&call.uri, ""));
    let selectors = query
        .split('&')
        .filter(|pair| pair.starts_with("fieldSelector="));
    let dry = "dryRun=All&fieldManager=again";
    let made = call.verb == "patch" && call.code == 201;
    let metadata = json!({"name": call.name});
    let apply = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata});
    let (method, how, content, body) = match call.verb.as_str() {
        "create" => ("POST", dry, "application/json", json!({})),
        "update" => ("PUT", dry, "application/json", json!({})),
        "patch" if made => ("PATCH", dry, "application/apply-patch+yaml", apply),
        "patch" => ("PATCH", dry, "application/merge-patch+json", json!({})),
        "watch" => ("GET", "watch=true&timeoutSeconds=1", "", Value::Null),
        _ => ("GET", "limit=1", "", Value::Null),
    };
    let query: Vec<&str> = selectors.chain([how]).collect();
    let request = HttpRequest::builder()
        .method(method)
        .uri(format!("{path}?{}", query.join("&")))
        .header("impersonate-user", user);
    let request = if content.is_empty() {
        request
    } else {
        request.header("content-type", content)
    };
    let body = if content.is_empty() {
        Vec::new()
    } else {
        body.to_string().into_bytes()
    };
    request.body(Body::from(body)).unwrap()
}
