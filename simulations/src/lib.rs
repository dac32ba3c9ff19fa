//! Discrete-event simulator of LLM model-server fleets, workloads, baselines and reports.

pub mod comparison;
pub mod event;
pub mod fault;
pub mod fleet;
pub mod histogram;
pub mod hpa;
pub mod policy;
pub mod replica;
pub mod report;
pub mod request;
pub mod result;
pub mod run;
pub mod scenario;
pub mod sequence;
pub mod single;
pub mod time;
pub mod workload;
