//! What goes wrong during a run, and when.

/// Something that goes wrong from one time until another, seconds since the start.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// Metrics cannot be scraped: of one variant (by its ordinal in the catalogue), or of everything. What was scraped
    /// last stays visible with its old time; replica states, which Kubernetes itself reports, stay fresh.
    ScrapeOutage {
        /// When it begins.
        from: f64,
        /// When it ends.
        until: f64,
        /// The variant; `None` for all metrics, those of the gateway included.
        variant: Option<usize>,
    },
    /// No more than this many devices of an accelerator can be had; those in use beyond it stay, but are not replaced.
    StockOut {
        /// When it begins.
        from: f64,
        /// When it ends.
        until: f64,
        /// Accelerator name.
        accelerator: String,
        /// Devices there are.
        devices: u32,
    },
}
