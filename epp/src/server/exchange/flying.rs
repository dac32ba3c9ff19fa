//! A request that was sent: what it holds until it ends.

use std::sync::Arc;

use wva_epp_core::endpoint::Slot;
use wva_epp_core::inflight::Flight;

use crate::server::admission::Place;
use crate::server::series::Series;
use crate::server::shared::Shared;

/// Counts of a request that was sent. Dropping it gives them back.
pub(super) struct Flying {
    shared: Arc<Shared>,
    flight: Flight,
    answered: bool,
    /// The endpoint that was picked.
    pub slot: Slot,
    /// Metrics of its flow.
    pub series: Arc<Series>,
    place: Option<Place>,
}

impl Flying {
    pub(super) fn new(
        shared: Arc<Shared>,
        flight: Flight,
        slot: Slot,
        series: Arc<Series>,
        place: Place,
    ) -> Self {
        series.running.inc();
        Self {
            shared,
            flight,
            answered: false,
            slot,
            series,
            place: Some(place),
        }
    }

    /// Notes the first byte of the answer.
    pub(super) fn answered(&mut self) {
        if !std::mem::replace(&mut self.answered, true) {
            self.shared.store.state().inflight.answered(&self.flight);
        }
    }

    /// Notes that another endpoint serves it.
    pub(super) fn moved(&mut self, to: Slot, now: f64) {
        if to != self.slot {
            self.slot = to;
            let mut state = self.shared.store.state();
            self.flight.decode = state.inflight.moved(self.flight.decode, to, now);
        }
    }
}

impl Drop for Flying {
    fn drop(&mut self) {
        self.series.running.dec();
        self.shared.store.state().inflight.ended(&self.flight);
        // Whoever gets the place sees that this one has gone.
        drop(self.place.take());
    }
}
