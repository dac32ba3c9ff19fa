//! What operators want of requests: how important they are, and which model they get.

use std::collections::HashMap;

/// Priorities and rewrites, as one snapshot.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Objectives {
    /// Priority by name of the objective.
    pub priorities: HashMap<String, i32>,
    /// Target model by the model that is asked for.
    pub targets: HashMap<String, String>,
}

impl Objectives {
    /// The priority of an objective; `None` for one that nobody declared.
    #[must_use]
    pub fn priority(&self, objective: &str) -> Option<i32> {
        self.priorities.get(objective).copied()
    }

    /// The model that a request for `model` gets instead; `None` for the model itself. `draw` in [0, 1) decides between
    /// weighted targets.
    #[must_use]
    pub fn rewrite(&self, model: &str, _headers: &[(&str, &str)], _draw: f64) -> Option<&str> {
        self.targets.get(model).map(String::as_str)
    }
}
