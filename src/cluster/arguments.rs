//! Which cluster, which part of it, and where its controller is: options of every verb that asks one.

use std::path::PathBuf;

use clap::Args;

/// Which cluster, and which part of it.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Cluster")]
pub struct ClusterArguments {
    /// Namespace; absent: that of the context
    #[arg(short, long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// All namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub all_namespaces: bool,
    /// Kubeconfig to use instead of $KUBECONFIG or ~/.kube/config
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// Where the controller answers, as http://127.0.0.1:8080 after `kubectl port-forward`; absent: through the API server
    #[arg(long, value_name = "URL")]
    pub controller: Option<String>,
    /// Namespace of the controller; absent: wherever one is found
    #[arg(long, value_name = "NAME")]
    pub controller_namespace: Option<String>,
}

impl ClusterArguments {
    /// The namespace to look at, given that of the context; `None` for all.
    pub fn namespace(&self, of_context: &str) -> Option<String> {
        if self.all_namespaces {
            return None;
        }
        let named = self.namespace.clone();
        Some(named.unwrap_or_else(|| of_context.to_owned()))
    }

    /// The same, but for all namespaces where none was named: for verbs that judge an installation as a whole.
    pub fn everywhere(&self) -> Self {
        Self {
            all_namespaces: self.namespace.is_none(),
            ..self.clone()
        }
    }
}

/// A variant as people write it: `NAME`, or `NAMESPACE/NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariantName {
    /// Namespace, where it was written.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
}

impl VariantName {
    /// Reads an argument; also for clap.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (namespace, name) = match text.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, text),
        };
        let label = |t: &str| !t.is_empty() && !t.contains(['/', ' ']);
        if !label(name) || namespace.is_some_and(|n| !label(n)) {
            return Err(format!("`{text}` is neither NAME nor NAMESPACE/NAME"));
        }
        Ok(Self {
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        })
    }

    /// Whether a variant is meant.
    pub fn means(&self, namespace: &str, name: &str) -> bool {
        self.name == name && self.namespace.as_deref().is_none_or(|n| n == namespace)
    }
}

impl std::fmt::Display for VariantName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_are_named_with_or_without_their_namespace() {
        let both = VariantName::parse("llm-d/llama").expect("valid");
        assert!(both.means("llm-d", "llama") && !both.means("other", "llama"));
        assert!(
            VariantName::parse("llama")
                .expect("valid")
                .means("any", "llama")
        );
        for bad in ["", "/x", "x/", "a/b/c", "a b"] {
            assert!(VariantName::parse(bad).is_err(), "{bad}");
        }
    }
}
