//! Which routers are asked for what arrives.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::telemetry::http::{HttpSettings, SettingsError};
use crate::telemetry::targets::{RouterTarget, Targets};

/// Routers of requests: endpoint pickers, and gateways that count as they do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RouterSettings {
    /// Whether those that the cluster names are asked: endpoint pickers of InferencePools, and pods marked as routers.
    pub discover: bool,
    /// Further ones.
    pub urls: Vec<RouterUrl>,
    /// How to reach them all.
    pub http: HttpSettings,
}

impl Default for RouterSettings {
    fn default() -> Self {
        Self {
            discover: true,
            urls: Vec::new(),
            http: HttpSettings::default(),
        }
    }
}

/// One router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouterUrl {
    /// Its metrics page.
    pub url: String,
    /// The namespace of the models that it routes to; all of them where absent.
    #[serde(default)]
    pub namespace: Option<String>,
}

impl RouterSettings {
    /// Checks that every URL is one.
    ///
    /// # Errors
    /// [`SettingsError::Url`].
    pub fn check(&self) -> Result<(), SettingsError> {
        for RouterUrl { url, .. } in &self.urls {
            let parsed = reqwest::Url::parse(url);
            let told = |why: &str| SettingsError::Url(format!("routers: {url}: {why}"));
            let parsed = parsed.map_err(|e| told(&e.to_string()))?;
            if !matches!(parsed.scheme(), "http" | "https") {
                return Err(told("only http and https are asked"));
            }
        }
        self.http.check()
    }

    /// The targets with the routers that are to be asked.
    #[must_use]
    pub fn complete<'t>(&self, targets: &'t Targets) -> Cow<'t, Targets> {
        if self.urls.is_empty() && (self.discover || targets.routers.is_empty()) {
            return Cow::Borrowed(targets);
        }
        let mut targets = targets.clone();
        if !self.discover {
            targets.routers.clear();
        }
        targets
            .routers
            .extend(self.urls.iter().map(|router| RouterTarget {
                namespace: router.namespace.clone().unwrap_or_default(),
                name: router.url.clone(),
                uid: router.url.clone(),
                url: Some(router.url.clone()),
                ..RouterTarget::default()
            }));
        Cow::Owned(targets)
    }
}
