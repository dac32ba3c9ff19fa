//! Arrivals that come in bursts.
//!
//! Burstiness is measured by the index of dispersion for counts, I = Var N / E N over windows of
//! about one end-to-end time: 1 for Poisson arrivals, larger for bursts. What to do with it depends
//! on how many requests are in service at once:
//!
//! - many (a running batch): **Hayward**. The traffic is seen as clusters of z requests that move
//!   together, z = 1 + (I − 1)/2 being its peakedness: the variance to mean ratio of the number it
//!   would keep busy in an infinite group of exponential servers. The queue is solved for clusters.
//! - one: **Kingman**, which scales the wait of one server. With many in service it is far too low,
//!   because it lets the mean rate of the group absorb every burst.
//!
//! Sources: A. A. Fredericks, "Congestion in blocking systems: a simple approximation technique",
//! *Bell System Technical Journal* 59(6), 1980; J. F. C. Kingman, "The single server queue in heavy
//! traffic", *Proc. Cambridge Phil. Soc.* 57(4), 1961.

use super::{QueueingError, SteadyState, non_negative, positive};

/// Index of dispersion for counts: unbiased variance over mean of the arrivals in equal windows.
///
/// `None` with fewer than two windows or without arrivals: nothing can be said. A trend over the
/// windows counts as burstiness: use few enough of them that the rate is steady.
pub fn index_of_dispersion(counts: impl IntoIterator<Item = u64>) -> Option<f64> {
    // Welford's recursion: one pass, no cancellation between large sums.
    let (mut windows, mut mean, mut squares) = (0.0, 0.0, 0.0);
    for count in counts {
        let count = count as f64;
        windows += 1.0;
        let off = count - mean;
        mean += off / windows;
        squares += off * (count - mean);
    }
    (windows >= 2.0 && mean > 0.0).then(|| squares / (windows - 1.0) / mean)
}

/// Hayward's scaling: solve the queue for clusters of `z` requests that move together.
///
/// With arrival rate λ/z, service rates μ(zj)/z for j clusters and room for K/z clusters, blocking
/// and delays are those of the bursty queue as they stand; throughput and numbers in system are in
/// clusters, to be multiplied by z.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hayward {
    peakedness: f64,
}

impl Hayward {
    /// The scaling for arrivals with index of dispersion `dispersion` I ≥ 0 over about one
    /// end-to-end time: z = 1 + (I − 1)/2, exact for Poisson batches and exponential service.
    ///
    /// # Errors
    /// `dispersion` negative, NaN or infinite.
    pub fn new(dispersion: f64) -> Result<Self, QueueingError> {
        let dispersion = non_negative("index of dispersion", dispersion)?;
        Ok(Self {
            peakedness: 1.0 + (dispersion - 1.0) / 2.0,
        })
    }

    /// z, the requests in a cluster: 1 for Poisson arrivals, at least 1/2.
    pub fn peakedness(&self) -> f64 {
        self.peakedness
    }

    /// Clusters per second for `arrival_rate` requests per second.
    pub fn arrival_rate(&self, arrival_rate: f64) -> f64 {
        arrival_rate / self.peakedness
    }

    /// Cluster departures per second with `clusters` in system, given the rate at which requests
    /// depart with any (fractional) number of them in system.
    pub fn service_rate(&self, clusters: usize, requests: impl FnOnce(f64) -> f64) -> f64 {
        requests(clusters as f64 * self.peakedness) / self.peakedness
    }

    /// Clusters that fit where `capacity` requests do: the nearest whole number, at least 1.
    pub fn capacity(&self, capacity: usize) -> usize {
        ((capacity as f64 / self.peakedness).round() as usize).max(1)
    }
}

/// Kingman's mean wait of G/G/1, in seconds: ρ/(1 − ρ)·(c_a² + c_s²)/2·E\[S\].
///
/// `arrival_rate` ≥ 0 in 1/s, `mean_service` > 0 in seconds, then the squared coefficients of
/// variation of interarrival and service times. Exact for M/G/1, and for others in the limit of
/// heavy traffic.
///
/// # Errors
/// An argument out of its domain.
pub fn kingman_wait(
    arrival_rate: f64,
    mean_service: f64,
    arrival_scv: f64,
    service_scv: f64,
) -> Result<SteadyState<f64>, QueueingError> {
    let arrival_rate = non_negative("arrival rate", arrival_rate)?;
    let mean_service = positive("mean service time", mean_service)?;
    let arrival_scv = non_negative("squared variation of interarrival times", arrival_scv)?;
    let service_scv = non_negative("squared variation of service times", service_scv)?;
    let utilization = arrival_rate * mean_service;
    Ok(SteadyState::from_utilization(utilization, || {
        let variability = (arrival_scv + service_scv) / 2.0;
        utilization / (1.0 - utilization) * variability * mean_service
    }))
}
