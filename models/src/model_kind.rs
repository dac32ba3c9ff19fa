//! The latency models by name, for commands that let the user choose.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::batching::ContinuousBatching;
use crate::chain_model::Chain;
use crate::iteration::ReplicaModel;
use crate::latency::LatencyModel;
use crate::mg1_prefill::Mg1Prefill;
use crate::variant::Role;

/// Which latency model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelKind {
    /// [`ContinuousBatching`]: two layers, all roles and shapes. The one that decisions are made with.
    #[default]
    ContinuousBatching,
    /// [`Chain`]: one birth–death chain, for small prompts and long outputs.
    Chain,
    /// [`Mg1Prefill`]: M/G/1, for prefill replicas with long prompts.
    Mg1,
}

/// A model that does not describe replicas of this role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("latency model {kind} describes prefill replicas only, not role {role:?}")]
pub struct Unsuitable {
    /// The model asked for.
    pub kind: ModelKind,
    /// The role asked for.
    pub role: Role,
}

/// A name that is none of [`ModelKind::ALL`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no latency model is called {0:?}: choose continuous-batching, chain or mg1")]
pub struct UnknownKind(pub String);

impl ModelKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::ContinuousBatching, Self::Chain, Self::Mg1];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ContinuousBatching => "continuous-batching",
            Self::Chain => "chain",
            Self::Mg1 => "mg1",
        }
    }

    /// This model of `replica` in `role`.
    ///
    /// # Errors
    /// [`Unsuitable`] for [`ModelKind::Mg1`] in a role other than prefill.
    pub fn model(
        self,
        replica: ReplicaModel,
        role: Role,
    ) -> Result<Box<dyn LatencyModel + Send + Sync>, Unsuitable> {
        match (self, role) {
            (Self::ContinuousBatching, _) => Ok(Box::new(ContinuousBatching::new(replica, role))),
            (Self::Chain, _) => Ok(Box::new(Chain { replica, role })),
            (Self::Mg1, Role::Prefill) => Ok(Box::new(Mg1Prefill { replica })),
            (Self::Mg1, Role::Both | Role::Decode) => Err(Unsuitable { kind: self, role }),
        }
    }
}

impl fmt::Display for ModelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ModelKind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, UnknownKind> {
        let mut kinds = Self::ALL.into_iter();
        kinds
            .find(|k| k.name() == name)
            .ok_or_else(|| UnknownKind(name.to_owned()))
    }
}
