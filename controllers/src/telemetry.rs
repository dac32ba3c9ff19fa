//! What the fleet reports of itself: from metrics pages, Prometheus answers and pushed counters to the plain samples that
//! a decision cycle takes.
//!
//! ```text
//! pods ───── pages ──┐
//! Prometheus ─ series├─► dialect ─► reading ─► gates ─► selection ─► Gathered { per pod: sample or reason,
//! EPP ─────── pushed ┘   (names)   (numbers)  (sane?)  (freshest)               per stream: sample or reason }
//! ```
//! Counters stay cumulative all the way: whoever asks Prometheus for a rate gets its window, its extrapolation and its
//! idea of a restart, and cannot undo them. The optimizer takes the differences itself.
//!
//! Nothing here makes up a number. What is missing, late or absurd is an outcome with a stable reason (see [`reason`]),
//! and that is what `doctor` prints.

pub mod clock;
pub mod diagnosis;
pub mod engine;
pub mod evidence;
pub mod exposition;
pub mod gates;
pub mod gathered;
pub mod gatherer;
pub mod gpu;
pub mod http;
pub mod ledger;
pub mod memory;
pub mod prometheus;
pub mod pushed;
pub mod reason;
pub mod router;
pub mod scraper;
pub mod selection;
pub mod streams;
pub mod tally;
pub mod targets;

pub use diagnosis::{Fact, diagnose};
pub use gathered::{Gathered, Outcome, PodTelemetry, Sampled, StreamTelemetry};
pub use gatherer::{Gatherer, TelemetrySettings};
pub use reason::{Missing, Note, Reason, Source};
pub use targets::Targets;
