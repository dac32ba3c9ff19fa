//! Windows: from what a scrape shows (cumulative counters and histograms) to what the models need (rates, counts per
//! slot, burstiness, recent distributions).
//!
//! ```text
//! (t, counter) ─> CounterWindow ─┬─> rate over the last w seconds
//!                                └─> slots ─> dispersion at a time scale
//! (t, histogram) ─> RecentHistogram ─> recent distribution, mean, quantile points
//! ```
//! Time is always an argument. Samples may come late, twice, out of order, with NaN, or after a restart of the source:
//! each window says what it does then, and none ever returns a number that it made up.
//!
//! Slots follow the scrapes instead of a fixed grid: sharing a scrape's count between two grid slots would average
//! neighbours and hide half the burstiness.

pub mod counter;
pub mod dispersion;
pub mod fading;
pub mod histogram;

pub use counter::{CounterWindow, Observed, Slot};
pub use dispersion::{Dispersion, dispersion};
pub use fading::FadingSum;
pub use histogram::{RecentHistogram, Scraped};
