//! All declared objectives and rewrites, and what they come to.

use std::collections::BTreeMap;

use kube::core::DynamicObject;
use serde::de::DeserializeOwned;

use super::{Objectives, Targets};
use crate::api::{InferenceModelRewriteSpec, InferenceObjectiveSpec, PoolRef, RewriteRule};

/// Where an object was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The group that these kinds have now; of two objects of one name its own holds.
    Current,
    /// The group that they had before.
    Legacy,
}

/// Source and name: all objects are of one namespace.
type Key = (Source, String);

/// A rewrite, oldest first when ordered.
#[derive(Debug, Clone, PartialEq)]
struct Rewrite {
    /// Seconds since the Unix epoch.
    created: i64,
    rules: Vec<RewriteRule>,
}

/// What is declared for one pool. Objects come and go by [`Source`] and name; what cannot be read counts for nothing.
#[derive(Debug, Clone, Default)]
pub struct Board {
    /// The pool; `None` takes what is declared for any.
    pool: Option<String>,
    objectives: BTreeMap<Key, i32>,
    rewrites: BTreeMap<Key, Rewrite>,
}

impl Board {
    /// Nothing declared yet for this pool, or for any.
    #[must_use]
    pub fn new(pool: Option<String>) -> Self {
        Self {
            pool,
            ..Self::default()
        }
    }

    /// Takes in a new or changed InferenceObjective.
    ///
    /// # Errors
    /// What is wrong with it; it counts for nothing then.
    pub fn objective(&mut self, source: Source, object: &DynamicObject) -> Result<(), String> {
        let key = key(source, object);
        self.objectives.remove(&key);
        let spec: InferenceObjectiveSpec = spec(object)?;
        if self.is_ours(&spec.pool_ref) {
            self.objectives.insert(key, spec.priority.unwrap_or(0));
        }
        Ok(())
    }

    /// Takes in a new or changed InferenceModelRewrite.
    ///
    /// # Errors
    /// What is wrong with it; it counts for nothing then.
    pub fn rewrite(&mut self, source: Source, object: &DynamicObject) -> Result<(), String> {
        let key = key(source, object);
        self.rewrites.remove(&key);
        let spec: InferenceModelRewriteSpec = spec(object)?;
        if self.is_ours(&spec.pool_ref) {
            let created = object.metadata.creation_timestamp.as_ref();
            let created = created.map_or(i64::MAX, |t| t.0.as_second());
            let rules = spec.rules;
            self.rewrites.insert(key, Rewrite { created, rules });
        }
        Ok(())
    }

    /// Takes out an InferenceObjective.
    pub fn no_objective(&mut self, source: Source, object: &DynamicObject) {
        self.objectives.remove(&key(source, object));
    }

    /// Takes out an InferenceModelRewrite.
    pub fn no_rewrite(&mut self, source: Source, object: &DynamicObject) {
        self.rewrites.remove(&key(source, object));
    }

    /// Takes out all objectives of a source.
    pub fn no_objectives(&mut self, source: Source) {
        self.objectives.retain(|(s, _), _| *s != source);
    }

    /// Takes out all rewrites of a source.
    pub fn no_rewrites(&mut self, source: Source) {
        self.rewrites.retain(|(s, _), _| *s != source);
    }

    fn is_ours(&self, reference: &PoolRef) -> bool {
        self.pool.as_ref().is_none_or(|own| *own == reference.name)
    }

    /// What it all comes to.
    #[must_use]
    pub fn objectives(&self) -> Objectives {
        // Current ones come first in the map, and stay.
        let mut objectives = Objectives::default();
        for ((_, name), priority) in &self.objectives {
            let priorities = &mut objectives.priorities;
            priorities.entry(name.clone()).or_insert(*priority);
        }
        let superseded = |(source, name): &Key| {
            let current = (Source::Current, name.clone());
            *source == Source::Legacy && self.rewrites.contains_key(&current)
        };
        let rewrites = self.rewrites.iter().filter(|(key, _)| !superseded(key));
        let mut rewrites: Vec<_> = rewrites.collect();
        // Of equal age, by name: any order, but always the same.
        rewrites.sort_by_key(|((source, name), r)| (r.created, name, *source));
        for rule in rewrites.into_iter().flat_map(|(_, r)| &r.rules) {
            add(&mut objectives, rule);
        }
        objectives
    }
}

/// Adds a rule where no earlier one holds.
fn add(objectives: &mut Objectives, rule: &RewriteRule) {
    let targets = rule.targets.iter().map(|t| {
        let weight = t.weight.map_or(1, |w| u32::try_from(w).unwrap_or(0));
        (t.model_rewrite.clone(), weight)
    });
    let targets = Targets::new(targets);
    if targets.is_empty() {
        return;
    }
    if rule.matches.is_empty() {
        objectives.any.get_or_insert(targets);
        return;
    }
    // A match of a kind that is not known here matches nothing, rather than everything.
    let models = rule.matches.iter().filter_map(|m| m.model.as_ref());
    let exact = models.filter(|m| m.kind.as_deref().is_none_or(|k| k == "Exact"));
    for model in exact {
        let models = &mut objectives.exact;
        models
            .entry(model.value.clone())
            .or_insert_with(|| targets.clone());
    }
}

fn key(source: Source, object: &DynamicObject) -> Key {
    (source, object.metadata.name.clone().unwrap_or_default())
}

fn spec<S: DeserializeOwned + Default>(object: &DynamicObject) -> Result<S, String> {
    match object.data.get("spec") {
        Some(spec) => S::deserialize(spec).map_err(|e| e.to_string()),
        None => Ok(S::default()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(name: &str, created: &str, spec: Value) -> DynamicObject {
        let metadata = json!({"name": name, "namespace": "ns", "creationTimestamp": created});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
    }

    fn rewrite(name: &str, day: u8, rules: Value) -> DynamicObject {
        let spec = json!({"poolRef": {"name": "pool"}, "rules": rules});
        object(name, &format!("2026-11-{day:02}T00:00:00Z"), spec)
    }

    fn exact(model: &str, target: &str) -> Value {
        let matches = json!([{"model": {"type": "Exact", "value": model}}]);
        json!({"matches": matches, "targets": [{"modelRewrite": target}]})
    }

    fn any(target: &str) -> Value {
        json!({"targets": [{"modelRewrite": target, "weight": 1}]})
    }

    fn board() -> Board {
        Board::new(Some("pool".to_owned()))
    }

    #[test]
    fn exact_before_any_then_older_then_earlier() {
        let mut board = board();
        let rules = json!([any("new-any"), exact("m", "new"), exact("m", "later")]);
        let newer = rewrite("newer", 2, rules);
        let older = rewrite("older", 1, json!([exact("x", "old-x"), any("old-any")]));
        board.rewrite(Source::Current, &newer).unwrap();
        board.rewrite(Source::Legacy, &older).unwrap();
        let of = |board: &Board, model| board.objectives().rewrite(model, 0.0).map(str::to_owned);
        assert_eq!(of(&board, "m").as_deref(), Some("new"));
        assert_eq!(of(&board, "x").as_deref(), Some("old-x"));
        assert_eq!(of(&board, "y").as_deref(), Some("old-any"));
        board.no_rewrites(Source::Legacy);
        assert_eq!(of(&board, "y").as_deref(), Some("new-any"));
        board.no_rewrite(Source::Current, &newer);
        assert_eq!(board.objectives(), Objectives::default());
    }

    #[test]
    fn what_is_not_understood_matches_nothing() {
        let mut board = board();
        let rules = json!([
            {"matches": [{"header": {"name": "a"}}], "targets": [{"modelRewrite": "wrong"}]},
            {"matches": [{"model": {"type": "Regex", "value": ".*"}}], "targets": [{"modelRewrite": "wrong"}]},
            {"matches": [{"model": {"value": "m"}}], "targets": [{"modelRewrite": "v1", "weight": 0}]},
            {"matches": [{"model": {"value": "m"}}], "targets": [{"modelRewrite": "v2"}]},
        ]);
        board
            .rewrite(Source::Current, &rewrite("r", 1, rules))
            .unwrap();
        let objectives = board.objectives();
        assert_eq!(objectives.any, None);
        assert_eq!(objectives.rewrite("m", 0.3), Some("v2"));
        assert_eq!(objectives.exact.len(), 1);
        let wrong = rewrite("r", 1, json!("nonsense"));
        assert!(board.rewrite(Source::Current, &wrong).is_err());
        assert_eq!(board.objectives(), Objectives::default());
    }

    #[test]
    fn other_pools_do_not_count_and_the_current_group_wins() {
        let mut board = board();
        let objective = |name: &str, pool: &str, priority: Value| {
            let spec = json!({"poolRef": {"name": pool}, "priority": priority});
            object(name, "2026-11-01T00:00:00Z", spec)
        };
        board
            .objective(Source::Legacy, &objective("a", "pool", json!(1)))
            .unwrap();
        board
            .objective(Source::Current, &objective("a", "pool", json!(2)))
            .unwrap();
        board
            .objective(Source::Current, &objective("b", "other", json!(3)))
            .unwrap();
        board
            .objective(Source::Current, &objective("c", "pool", json!(null)))
            .unwrap();
        let objectives = board.objectives();
        let of = |name| objectives.priority(name);
        assert_eq!((of("a"), of("b"), of("c")), (Some(2), None, Some(0)));
        board
            .objective(Source::Current, &objective("c", "other", json!(1)))
            .unwrap();
        board.no_objective(Source::Current, &objective("a", "", json!(0)));
        let objectives = board.objectives();
        assert_eq!(
            (objectives.priority("a"), objectives.priority("c")),
            (Some(1), None)
        );
    }
}
