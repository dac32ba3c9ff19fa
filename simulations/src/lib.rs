//! Discrete-event simulator of LLM model-server fleets, workloads, baselines and reports.

pub mod request;
pub mod time;
