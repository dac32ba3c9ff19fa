//! What all requests read and few write: endpoints, requests in flight, prefixes, objectives.
