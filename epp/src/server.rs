//! Envoy's external processor: one stream for each HTTP request.
