//! Latency models of LLM model servers: units, catalogue, request shapes, queueing, capacity under an SLO, fitting and
//! forecasting. Pure: no clock, network, file or thread-local randomness; time and seeds are arguments.

pub mod accelerator;
pub mod batching;
pub mod capacity;
pub mod catalogue;
pub mod chain_model;
pub mod exchange;
pub mod fit;
pub mod forecast;
pub mod iteration;
pub mod latency;
pub mod mg1_prefill;
pub mod model;
pub mod model_kind;
pub mod queueing;
pub mod roofline;
pub mod service_class;
pub mod shape;
pub mod units;
pub mod variant;
pub mod windows;
