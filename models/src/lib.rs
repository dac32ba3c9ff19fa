//! Latency models of LLM model servers: units, catalogue, queueing, capacity, fitting, forecasting.
