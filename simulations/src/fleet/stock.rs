//! Devices there are, per accelerator, and who holds them.

use wva_models::catalogue::Catalogue;

use crate::fault::Fault;
use crate::time::Time;

#[derive(Debug, Clone)]
struct Shelf {
    name: String,
    /// Devices that exist; `None` is unlimited.
    total: Option<u32>,
    used: u32,
    /// (from, until, devices): no more than this many then.
    shortages: Vec<(Time, Time, u32)>,
}

/// Stock of every accelerator that a variant uses.
#[derive(Debug, Clone)]
pub(crate) struct Stock {
    shelves: Vec<Shelf>,
    /// Shelf and devices per replica, per variant.
    needs: Vec<(usize, u32)>,
}

impl Stock {
    pub(super) fn new(catalogue: &Catalogue, faults: &[Fault]) -> Self {
        let name_of = |name: &str| {
            catalogue
                .accelerator(name)
                .map_or_else(|| name.to_owned(), |a| a.name.clone())
        };
        let mut shelves: Vec<Shelf> = Vec::new();
        let mut needs = Vec::new();
        for variant in &catalogue.variants {
            let name = name_of(&variant.accelerator);
            let shelf = shelves.iter().position(|s| s.name == name);
            let shelf = shelf.unwrap_or_else(|| {
                let total = catalogue.stock.iter().find(|s| name_of(s.0) == name);
                shelves.push(Shelf {
                    shortages: shortages(faults, |n| name_of(n) == name),
                    name,
                    total: total.map(|s| *s.1),
                    used: 0,
                });
                shelves.len() - 1
            });
            needs.push((shelf, variant.tensor_parallel));
        }
        Self { shelves, needs }
    }

    /// Takes the devices of one replica; whether there were enough.
    pub(super) fn take(&mut self, variant: usize, now: Time) -> bool {
        let (shelf, devices) = self.needs[variant];
        let shelf = &mut self.shelves[shelf];
        let fits = shelf
            .limit(now)
            .is_none_or(|limit| shelf.used + devices <= limit);
        if fits {
            shelf.used += devices;
        }
        fits
    }

    /// Gives the devices of one replica back.
    pub(super) fn give_back(&mut self, variant: usize) {
        let (shelf, devices) = self.needs[variant];
        self.shelves[shelf].used -= devices;
    }

    /// Times at which a shortage begins or ends.
    pub(crate) fn changes(&self) -> Vec<Time> {
        let spans = self.shelves.iter().flat_map(|s| &s.shortages);
        spans.flat_map(|s| [s.0, s.1]).collect()
    }

    /// (accelerator, devices that exist) of those that are limited.
    pub(crate) fn limited(&self) -> impl Iterator<Item = (&str, u32)> {
        self.shelves
            .iter()
            .filter_map(|s| Some((s.name.as_str(), s.total?)))
    }
}

impl Shelf {
    /// Devices to be had now, those in use included. A shortage shows in pods that stay pending, not in the published
    /// stock: nobody announces one.
    fn limit(&self, now: Time) -> Option<u32> {
        let short = self
            .shortages
            .iter()
            .filter(|s| s.0 <= now && now < s.1)
            .map(|s| s.2)
            .min();
        match (self.total, short) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

fn shortages(faults: &[Fault], is_this: impl Fn(&str) -> bool) -> Vec<(Time, Time, u32)> {
    let shortage = |fault: &Fault| match fault {
        Fault::StockOut {
            from,
            until,
            accelerator,
            devices,
        } if is_this(accelerator) => Some((
            Time::from_seconds(*from),
            Time::from_seconds(*until),
            *devices,
        )),
        _ => None,
    };
    faults.iter().filter_map(shortage).collect()
}
