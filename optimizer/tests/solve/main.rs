//! The solver against a brute-force oracle, the verifier, and the laws that plans obey.

mod instances;
mod melange;
mod oracle;
mod outcomes;
mod prices;
mod properties;
mod verifier;
