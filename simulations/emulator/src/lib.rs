//! Emulated model servers: the HTTP face of vLLM, the timing of the simulated replica.
