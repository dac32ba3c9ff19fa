//! A plan as text for people.

use super::answer::{Answered, Limits, Other, Priced, Share, Status};
use crate::console::{Answer, Page};
use crate::figures::{dollars, percent, short};
use crate::table::{Table, Tone};

impl Answer for Answered {
    const VERB: &'static str = "plan";

    fn describe(&self, page: &mut Page) {
        let status = match self.status {
            Status::Feasible => page.toned("feasible", Tone::Good),
            Status::Infeasible => page.toned("infeasible", Tone::Bad),
        };
        let (cost, bound, gap) = (
            dollars(self.cost_per_hour_usd),
            dollars(self.bound_per_hour_usd),
            percent(self.gap),
        );
        page.line(format!(
            "{status}: {cost} an hour; no plan is cheaper than {bound} (gap {gap})"
        ));
        for u in &self.unmet {
            let bad = page.toned("unmet", Tone::Bad);
            page.line(format!(
                "{bad}: {} req/s ({}) of {} {}: {}",
                short(u.rate_rps),
                percent(u.share),
                u.model,
                u.class,
                u.why
            ));
        }
        self.tables(page);
    }
}

impl Answered {
    fn tables(&self, page: &mut Page) {
        page.title("Replicas");
        let mut table = Table::new(&[
            "VARIANT",
            "MODEL",
            "ACCELERATOR",
            "ROLE",
            ">REPLICAS",
            ">$/H",
        ]);
        for r in &self.replicas {
            table.row([
                r.variant.as_str().into(),
                r.model.as_str().into(),
                r.accelerator.as_str().into(),
                format!("{:?}", r.role).to_lowercase().into(),
                r.replicas.to_string().into(),
                dollars(r.cost_per_hour_usd).into(),
            ]);
        }
        page.table(&table);
        page.title("Traffic");
        let mut table = Table::new(&[
            "MODEL",
            "CLASS",
            "VARIANT",
            ">SHARE",
            ">REQ/S",
            ">ONE SUSTAINS",
            "LIMITED BY",
        ]);
        for s in &self.shares {
            let stage = |l: &Limits| s.variant.split(" + ").any(|v| v == l.variant);
            let demand =
                |l: &Limits| (&l.class, l.bucket, &l.model) == (&s.class, s.bucket, &s.model);
            let same = |l: &&Limits| demand(l) && stage(l);
            let limits: Vec<&Limits> = self.binding.iter().filter(same).collect();
            let rates: Vec<String> = limits.iter().map(|l| short(l.capacity_rps)).collect();
            let bounds: Vec<String> = limits.iter().map(|l| l.binding.to_string()).collect();
            table.row([
                s.model.as_str().into(),
                s.requests().into(),
                s.variant.as_str().into(),
                percent(s.share).into(),
                short(s.rate_rps).into(),
                rates.join(" + ").into(),
                bounds.join(" + ").into(),
            ]);
        }
        page.table(&table);
        let mut table = Table::new(&["LIMIT", ">USED", ">OF"]);
        for l in &self.limits {
            table.row([
                l.limit.as_str().into(),
                short(l.used).into(),
                short(l.at_most).into(),
            ]);
        }
        if !table.is_empty() {
            page.title("Full");
            page.table(&table);
        }
        self.what_if(page);
    }

    fn what_if(&self, page: &mut Page) {
        if !self.alternatives.is_empty() {
            page.title("Runners-up");
            let mut table = Table::new(&["WITHOUT", ">$/H", ">EXTRA", ">UNMET REQ/S", "REPLICAS"]);
            for a in &self.alternatives {
                table.row([
                    a.without.as_str().into(),
                    dollars(a.cost_per_hour_usd).into(),
                    dollars(a.extra_per_hour_usd).into(),
                    short(a.unmet_rps).into(),
                    a.mix().into(),
                ]);
            }
            page.table(&table);
        }
        Priced::describe(&self.prices, page);
    }
}

impl Other {
    /// `3 × h100, 2 × l4`.
    pub fn mix(&self) -> String {
        let parts: Vec<String> = self
            .replicas
            .iter()
            .map(|r| format!("{} × {}", r.replicas, r.variant))
            .collect();
        if parts.is_empty() {
            "nothing".to_owned()
        } else {
            parts.join(", ")
        }
    }
}

impl Share {
    /// The class, and which of its prompts where it is split by them.
    fn requests(&self) -> String {
        match self.longest_prompt_tokens {
            None => self.class.clone(),
            Some(tokens) => format!("{}, prompts up to {tokens:.0}", self.class),
        }
    }
}

impl Priced {
    /// Those changes that help, as a table under a title.
    pub fn describe(all: &[Self], page: &mut Page) {
        let mut table = Table::new(&["CHANGE", ">SAVES $/H", ">SERVES REQ/S MORE"]);
        for p in all
            .iter()
            .filter(|p| p.saves_per_hour_usd > 0.005 || p.serves_rps > 1e-3)
        {
            table.row([
                p.change.as_str().into(),
                dollars(p.saves_per_hour_usd).into(),
                short(p.serves_rps).into(),
            ]);
        }
        if !table.is_empty() {
            page.title("What would help");
            page.table(&table);
        }
    }
}
