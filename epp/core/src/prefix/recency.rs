//! In which order each endpoint has last used the runs that it holds.

use super::slab::{NONE, Slab};

/// That an endpoint holds a run: a place in its list.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Link {
    /// The run.
    pub run: u32,
    older: u32,
    newer: u32,
}

/// All links.
pub(super) type Links = Slab<Link>;

/// The list of one endpoint.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recency {
    oldest: u32,
    newest: u32,
    /// Blocks in all its runs together.
    pub blocks: usize,
    /// How many runs.
    pub runs: usize,
}

impl Default for Recency {
    fn default() -> Self {
        Self {
            oldest: NONE,
            newest: NONE,
            blocks: 0,
            runs: 0,
        }
    }
}

impl Recency {
    /// The link of the run that was used longest ago.
    pub(super) fn oldest(&self) -> Option<u32> {
        (self.oldest != NONE).then_some(self.oldest)
    }

    /// Adds a run as the one used last; its link.
    pub(super) fn add(&mut self, links: &mut Links, run: u32) -> u32 {
        self.add_after(links, self.newest, run)
    }

    /// Adds a run as used just after the one of the link `older`; its link.
    pub(super) fn add_after(&mut self, links: &mut Links, older: u32, run: u32) -> u32 {
        let newer = links.get_mut(older).map_or(self.oldest, |l| l.newer);
        let link = links.add(Link { run, older, newer });
        self.tie(links, older, newer, link, link);
        self.runs += 1;
        link
    }

    /// Makes a run the one used last.
    pub(super) fn renew(&mut self, links: &mut Links, link: u32) {
        if link == self.newest {
            return;
        }
        let Link { older, newer, .. } = links[link];
        self.tie(links, older, newer, newer, older);
        let last = self.newest;
        links[link].older = last;
        links[link].newer = NONE;
        self.tie(links, last, NONE, link, link);
    }

    /// Takes a run out.
    pub(super) fn remove(&mut self, links: &mut Links, link: u32) {
        let Link { older, newer, .. } = links.take(link);
        self.tie(links, older, newer, newer, older);
        self.runs -= 1;
    }

    /// Tells `older` who is `next` after it, and `newer` who was there `before` it.
    fn tie(&mut self, links: &mut Links, older: u32, newer: u32, next: u32, before: u32) {
        match links.get_mut(older) {
            Some(link) => link.newer = next,
            None => self.oldest = next,
        }
        match links.get_mut(newer) {
            Some(link) => link.older = before,
            None => self.newest = before,
        }
    }
}
