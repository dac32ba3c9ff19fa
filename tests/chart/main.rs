//! The Helm chart and the recipe of the image: rendered by the real helm, taken by the real API server, and held to what the controller
//! watches, serves and exports.
#![allow(clippy::unwrap_used)] // tests

mod cluster;
mod image;
mod monitoring;
mod picker;
mod rendered;
mod rendering;
mod rights;
mod running;
mod settings;
mod values;
