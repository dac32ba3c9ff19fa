//! Discrete-event simulator of LLM model-server fleets, workloads, baselines and reports.

pub mod hpa;
pub mod policy;
pub mod request;
pub mod result;
pub mod time;
