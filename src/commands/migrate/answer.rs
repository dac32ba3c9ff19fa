//! The answer of `wva migrate`.

use serde::Serialize;
use wva_controllers::index::Kind;
use wva_controllers::index::fleet::Path;

use super::collection::Collection;
use super::original::Original;
use super::proposal::{Action, Proposal};
use crate::cluster::objects::Objects;
use crate::console::{Answer, Page};
use crate::figures::count;
use crate::table::{Cell, Table, Tone};

/// All proposals.
#[derive(Debug, Serialize)]
pub struct Migration {
    /// Where the objects are from.
    source: String,
    objects: Vec<Proposal>,
    /// What is not carried over, each with its object.
    not_carried_over: Vec<Lost>,
    /// What the controller would not understand of the proposed objects.
    findings: Vec<Told>,
    /// Kinds of objects that mean nothing here.
    ignored: Vec<String>,
}

/// Something that is lost.
#[derive(Debug, Serialize)]
struct Lost {
    object: String,
    what: String,
}

/// A finding of the controller's.
#[derive(Debug, Serialize)]
struct Told {
    object: String,
    code: &'static str,
    text: String,
}

impl Migration {
    /// Puts the proposals together, and has the controller's own index read them.
    pub fn new(collection: &Collection, objects: Vec<Proposal>) -> Self {
        let lost = objects.iter().flat_map(|p| {
            let lost = p.notes.iter().filter(|n| n.lost);
            lost.map(|n| Lost {
                object: title(p),
                what: n.text.clone(),
            })
        });
        Self {
            source: collection.place.clone(),
            not_carried_over: lost.collect(),
            findings: findings(collection, &objects),
            ignored: collection.ignored.clone(),
            objects,
        }
    }

    /// Whether there is nothing to propose.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    fn applied(&self) -> impl Iterator<Item = (&Proposal, &String)> {
        self.objects
            .iter()
            .filter_map(|p| Some((p, p.yaml.as_ref()?)))
    }

    /// All that is to be applied, as one YAML stream.
    pub fn manifests(&self) -> String {
        let documents: Vec<&str> = self.applied().map(|(_, yaml)| yaml.as_str()).collect();
        documents.join("---\n")
    }

    /// The same as files: names and contents.
    pub fn files(&self) -> impl Iterator<Item = (String, &String)> {
        self.applied().map(|(p, yaml)| {
            let parts = [p.namespace.as_str(), &p.kind.to_ascii_lowercase(), &p.name];
            let parts: Vec<&str> = parts.into_iter().filter(|s| !s.is_empty()).collect();
            (format!("{}.yaml", parts.join("-")), yaml)
        })
    }
}

/// What the controller's index says of the cluster as it would be: of the proposed variants only.
fn findings(collection: &Collection, proposals: &[Proposal]) -> Vec<Told> {
    let mut objects = Objects::default();
    let mut take = |original: &Original| {
        objects.add(original.kind, original.object());
    };
    let gone = |o: &Original| {
        let same = |p: &&Proposal| {
            p.action != Action::Keep
                && (p.kind.as_str(), &p.namespace, &p.name)
                    == (o.kind.names().1, &o.namespace, &o.name)
        };
        let taken_over = |p: &&Proposal| {
            o.kind == Kind::HorizontalPodAutoscaler
                && p.kind == Kind::ScaledObject.names().1
                && (&p.namespace, &p.name) == (&o.namespace, &o.name)
        };
        proposals.iter().any(|p| same(&p) || taken_over(&p))
    };
    collection
        .objects
        .iter()
        .filter(|o| !gone(o))
        .for_each(&mut take);
    let applied = proposals
        .iter()
        .filter_map(|p| Original::read(p.value.clone()?, &p.origin));
    let applied: Vec<Original> = applied.collect();
    applied.iter().for_each(&mut take);
    let fleet = objects.fleet(&collection.settings.base);
    let mut told = Vec::new();
    for view in &fleet.variants {
        let object = format!("{} {}", view.subject.kind, view.subject.name);
        // Files need not hold the workload, and without it there is nothing to be understood.
        if !view.found {
            continue;
        }
        told.extend(view.findings.iter().map(|f| Told {
            object: object.clone(),
            code: f.code,
            text: f.text.clone(),
        }));
        if let Path::Advice { code, text } = &view.path
            && *code != "AdviceOnly"
        {
            told.push(Told {
                object,
                code,
                text: text.clone(),
            });
        }
    }
    told
}

fn title(p: &Proposal) -> String {
    match p.namespace.as_str() {
        "" => format!("{} {}", p.kind, p.name),
        namespace => format!("{} {namespace}/{}", p.kind, p.name),
    }
}

impl Answer for Migration {
    const VERB: &'static str = "migrate";

    fn describe(&self, page: &mut Page) {
        let mut table = Table::new(&["OBJECT", "ACTION", ">NOT CARRIED OVER"]);
        for p in &self.objects {
            let (word, tone) = match p.action {
                Action::Change => ("change", Tone::Strong),
                Action::Create => ("create", Tone::Good),
                Action::Remove => ("remove", Tone::Bad),
                Action::Keep => ("keep", Tone::Dim),
            };
            let lost = p.notes.iter().filter(|n| n.lost).count();
            let lost = if lost == 0 {
                String::new()
            } else {
                lost.to_string()
            };
            table.row([title(p).into(), Cell::toned(word, tone), lost.into()]);
        }
        page.table(&table);
        for p in &self.objects {
            self.one(p, page);
        }
        self.trouble(page);
        if self.applied().next().is_some() {
            page.title("To apply");
            page.line(self.manifests());
        }
        if !self.ignored.is_empty() {
            page.line(format!("not looked at: {}", self.ignored.join(", ")));
        }
    }
}

impl Migration {
    fn one(&self, p: &Proposal, page: &mut Page) {
        if p.notes.is_empty() && p.diff.is_empty() {
            return;
        }
        page.title(&title(p));
        for note in &p.notes {
            let mark = if note.lost {
                page.toned("not carried over:", Tone::Bad)
            } else {
                page.toned("note:", Tone::Dim)
            };
            page.line(format!("{mark} {}", note.text));
        }
        for line in p.diff.lines() {
            let tone = match line.chars().next() {
                Some('+') => Tone::Good,
                Some('-') => Tone::Bad,
                Some('@') => Tone::Dim,
                _ => Tone::Plain,
            };
            page.line(page.toned(line, tone));
        }
    }

    fn trouble(&self, page: &mut Page) {
        if self.findings.is_empty() {
            return;
        }
        let found = count(self.findings.len(), "thing", "things");
        page.title(&format!("{found} that wva would not understand"));
        for told in &self.findings {
            page.line(format!("{}: {} [{}]", told.object, told.text, told.code));
        }
    }
}
