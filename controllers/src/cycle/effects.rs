//! What a cycle wants written, as values, and what became of it.

use kube::core::DynamicObject;

use crate::api::status::VariantAutoscalingStatus;
use crate::index::Key;
use crate::index::fleet::Subject;

/// One thing to write.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Ask for this many replicas.
    Scale {
        /// Variant.
        variant: Key,
        /// What is scaled, in the variant's namespace.
        target: Subject,
        /// What it asks for now; if it asks for something else by then, somebody else was faster and nothing is written.
        from: u32,
        /// What it should ask for.
        to: u32,
    },
    /// Have this pod go first when replicas are taken away, or no longer.
    Cost {
        /// Variant.
        variant: Key,
        /// Name of the pod, in the variant's namespace.
        pod: String,
        /// UID of the pod.
        uid: String,
        /// Whether it is to go first.
        first: bool,
    },
    /// Write this status.
    Status {
        /// Variant and name of the `VariantAutoscaling`.
        variant: Key,
        /// The object's resource version when this was decided: whoever wrote since is not overwritten.
        version: Option<String>,
        /// The whole status.
        status: Box<VariantAutoscalingStatus>,
    },
    /// Tell people.
    Event {
        /// Variant, or namespace and name of another object.
        variant: Key,
        /// What it is about.
        subject: Subject,
        /// Stable reason, UpperCamelCase.
        reason: &'static str,
        /// What happened, in words.
        note: String,
        /// Something is wrong, rather than something was done.
        warning: bool,
    },
    /// Keep this object for the next process: learned state.
    Keep {
        /// The ConfigMap.
        object: Box<DynamicObject>,
    },
}

impl Effect {
    /// The variant that it is about; `None` for what concerns the fleet.
    #[must_use]
    pub fn variant(&self) -> Option<&Key> {
        match self {
            Self::Scale { variant, .. }
            | Self::Cost { variant, .. }
            | Self::Status { variant, .. }
            | Self::Event { variant, .. } => Some(variant),
            Self::Keep { .. } => None,
        }
    }
}

/// What became of a scale or status effect.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// Variant.
    pub variant: Key,
    /// Whether it was a scale.
    pub scale: Option<u32>,
    /// How it ended.
    pub outcome: WriteOutcome,
}

/// How a write ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteOutcome {
    /// It is written.
    Done,
    /// Somebody else wrote first; the next cycle sees what.
    Conflict,
    /// The object is gone.
    Gone,
    /// The role does not allow it.
    Forbidden(String),
    /// Anything else.
    Failed(String),
    /// Leadership was lost before the write: it was not made.
    NotLeader,
}
