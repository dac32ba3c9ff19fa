//! Settings of flow control.

/// Which flow of a band goes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fairness {
    /// Flows do not matter: one queue.
    #[default]
    GlobalStrict,
    /// Flows take turns.
    RoundRobin,
}

/// Which request of a flow goes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ordering {
    /// The first to arrive.
    #[default]
    FirstCome,
    /// The first to be due; those without a deadline after all that have one.
    EarliestDeadline,
}

/// Settings of one priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BandSettings {
    /// Most requests that wait.
    pub max_requests: usize,
    /// Most bytes that wait.
    pub max_bytes: u64,
    /// Which flow goes next.
    pub fairness: Fairness,
    /// Which of its requests.
    pub ordering: Ordering,
}

impl Default for BandSettings {
    /// The upstream's: 5,000 requests and 1 GB.
    fn default() -> Self {
        Self {
            max_requests: 5000,
            max_bytes: 1_000_000_000,
            fairness: Fairness::default(),
            ordering: Ordering::default(),
        }
    }
}

/// Settings of all.
#[derive(Debug, Clone, PartialEq)]
pub struct FlowSettings {
    /// Most requests that wait, all priorities together.
    pub max_requests: usize,
    /// Most bytes that wait, all priorities together.
    pub max_bytes: u64,
    /// Longest wait while the pool has endpoints, seconds; `None` for as long as the client does.
    pub ttl_s: Option<f64>,
    /// Longest wait while it has none; never less than one and a half start-ups.
    pub ttl_empty_s: Option<f64>,
    /// Whether to refuse at once what could not start by its deadline.
    pub refuse_late: bool,
    /// Priorities with settings of their own.
    pub bands: Vec<(i32, BandSettings)>,
    /// Settings of other priorities.
    pub default_band: BandSettings,
    /// Settings of other priorities below 0.
    pub negative_band: BandSettings,
}

impl Default for FlowSettings {
    fn default() -> Self {
        Self {
            max_requests: usize::MAX,
            max_bytes: u64::MAX,
            ttl_s: Some(60.0),
            ttl_empty_s: Some(60.0),
            refuse_late: false,
            bands: Vec::new(),
            default_band: BandSettings::default(),
            negative_band: BandSettings::default(),
        }
    }
}

impl FlowSettings {
    /// The settings of a priority.
    #[must_use]
    pub fn band(&self, priority: i32) -> BandSettings {
        let own = self.bands.iter().find(|(p, _)| *p == priority);
        own.map_or(
            if priority < 0 {
                self.negative_band
            } else {
                self.default_band
            },
            |(_, b)| *b,
        )
    }
}
