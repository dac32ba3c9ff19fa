//! `wva`: keeps a fleet of LLM model servers at the cheapest size that still meets its latency objectives.

fn main() {}
