//! The model servers' own metrics, read evenly spread over the interval.
