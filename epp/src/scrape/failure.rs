//! Why a server's page could not be used.

/// Why a server's page could not be used. Its numbers stay the last ones, and grow old.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Failure {
    /// Nobody answers at the address.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// The page had not come whole by the deadline.
    #[error("no whole page within {0} s")]
    Timeout(f64),
    /// The page is longer than any metrics page is.
    #[error("page of more than {0} bytes")]
    TooLarge(u64),
    /// An answer that is no page.
    #[error("status {0}")]
    Status(u16),
    /// The connection broke, or what came is no HTTP.
    #[error("broken: {0}")]
    Broken(String),
    /// A page without the numbers of any engine that is known.
    #[error("no metrics of a known engine on the page")]
    NothingKnown,
    /// A page whose every number is absurd.
    #[error("absurd: {name} is {value}")]
    Absurd {
        /// The first of the names.
        name: String,
        /// What it says.
        value: f64,
    },
}

impl Failure {
    /// All reasons, as [`Failure::reason`] gives them.
    pub const REASONS: [&'static str; 7] = [
        "unreachable",
        "timeout",
        "too-large",
        "status",
        "broken",
        "nothing-known",
        "absurd",
    ];

    /// Its place among [`Failure::REASONS`].
    #[must_use]
    pub const fn place(&self) -> usize {
        match self {
            Self::Unreachable(_) => 0,
            Self::Timeout(_) => 1,
            Self::TooLarge(_) => 2,
            Self::Status(_) => 3,
            Self::Broken(_) => 4,
            Self::NothingKnown => 5,
            Self::Absurd { .. } => 6,
        }
    }

    /// A stable word for it.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        Self::REASONS[self.place()]
    }
}
