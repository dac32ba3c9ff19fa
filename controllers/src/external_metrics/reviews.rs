//! Questions to the API server: whose token is this, and may they do that? Answers are remembered for a few seconds.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::Instant;

use super::gate::Request;
use super::identity::Identity;

/// How long an answer counts: a right that is taken away lasts no longer than this.
const REMEMBERED: Duration = Duration::from_secs(10);
/// Most answers that are remembered.
const MOST: usize = 4096;

/// The reviewer, with its memory.
pub struct Reviewer {
    client: Client,
    tokens: Mutex<Memory<String, Option<Identity>>>,
    access: Mutex<Memory<(Identity, Request), Verdict>>,
}

impl std::fmt::Debug for Reviewer {
    /// Without the tokens.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reviewer").finish_non_exhaustive()
    }
}

/// Whether somebody may do something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether they may.
    pub allowed: bool,
    /// Why, in the authorizer's words; may be empty.
    pub reason: String,
}

impl Reviewer {
    /// Asks through this client.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self {
            client,
            tokens: Mutex::default(),
            access: Mutex::default(),
        }
    }

    /// Whose token this is; `None` when it is nobody's.
    ///
    /// # Errors
    /// The client's error when the API server does not answer.
    pub async fn identity(&self, token: &str) -> Result<Option<Identity>, kube::Error> {
        if let Some(known) = lock(&self.tokens).get(&token.to_owned()) {
            return Ok(known);
        }
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.into()),
                audiences: None,
            },
            ..TokenReview::default()
        };
        let answer = Api::all(self.client.clone())
            .create(&PostParams::default(), &review)
            .await?;
        let identity = identity_in(answer);
        lock(&self.tokens).put(token.into(), identity.clone());
        Ok(identity)
    }

    /// Whether `identity` may do this.
    ///
    /// # Errors
    /// The client's error when the API server does not answer.
    pub async fn may(
        &self,
        identity: &Identity,
        request: &Request,
    ) -> Result<Verdict, kube::Error> {
        let question = (identity.clone(), request.clone());
        if let Some(known) = lock(&self.access).get(&question) {
            return Ok(known);
        }
        let answer = Api::all(self.client.clone())
            .create(&PostParams::default(), &access_review(identity, request))
            .await?;
        let status = answer.status.unwrap_or_default();
        let verdict = Verdict {
            allowed: status.allowed && !status.denied.unwrap_or(false),
            reason: status.reason.unwrap_or_default(),
        };
        lock(&self.access).put(question, verdict.clone());
        Ok(verdict)
    }
}

fn identity_in(review: TokenReview) -> Option<Identity> {
    let status = review.status?;
    if !status.authenticated.unwrap_or(false) {
        return None;
    }
    let user = status.user?;
    Some(Identity {
        name: user.username?,
        uid: user.uid,
        groups: user.groups.unwrap_or_default(),
        extra: user.extra.unwrap_or_default(),
    })
}

fn access_review(identity: &Identity, request: &Request) -> SubjectAccessReview {
    let mut spec = SubjectAccessReviewSpec {
        user: Some(identity.name.clone()),
        uid: identity.uid.clone(),
        groups: Some(identity.groups.clone()),
        extra: Some(identity.extra.clone()),
        ..SubjectAccessReviewSpec::default()
    };
    match request {
        Request::Resource {
            verb,
            namespace,
            resource,
            name,
        } => {
            spec.resource_attributes = Some(ResourceAttributes {
                verb: Some(verb.clone()),
                namespace: Some(namespace.clone()),
                group: Some(super::GROUP.into()),
                version: Some(super::VERSION.into()),
                resource: Some(resource.clone()),
                name: Some(name.clone()),
                ..ResourceAttributes::default()
            });
        }
        Request::Path { verb, path } => {
            spec.non_resource_attributes = Some(NonResourceAttributes {
                verb: Some(verb.clone()),
                path: Some(path.clone()),
            });
        }
    }
    SubjectAccessReview {
        metadata: Default::default(),
        spec,
        status: None,
    }
}

/// Answers with the time until which they count.
#[derive(Debug)]
struct Memory<K, V>(HashMap<K, (Instant, V)>);

impl<K, V> Default for Memory<K, V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash, V: Clone> Memory<K, V> {
    fn get(&self, key: &K) -> Option<V> {
        let (until, value) = self.0.get(key)?;
        (*until > Instant::now()).then(|| value.clone())
    }

    fn put(&mut self, key: K, value: V) {
        let now = Instant::now();
        if self.0.len() >= MOST {
            self.0.retain(|_, (until, _)| *until > now);
            if self.0.len() >= MOST {
                self.0.clear();
            }
        }
        self.0.insert(key, (now + REMEMBERED, value));
    }
}

fn lock<T>(memory: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}
