//! Problem, plan, verification and decision of the LLM fleet autoscaler.
