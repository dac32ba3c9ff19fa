//! Everything that one look at a cluster brings, together.

use wva_controllers::index::Fleet;
use wva_models::catalogue::names;

use super::arguments::{ClusterArguments, VariantName};
use super::contact::Contact;
use super::figures::Figures;
use super::objects::Objects;
use super::roster::{Entry, roster};
use super::{Cluster, now};
use crate::diagnostic::Diagnostic;
use crate::failure::Failure;

/// One look.
#[derive(Debug)]
pub struct Look {
    /// When, seconds since the Unix epoch.
    pub at: f64,
    /// Where the controller is.
    pub contact: Contact,
    /// Objects.
    pub objects: Objects,
    /// The fleet that they make.
    pub fleet: Fleet,
    /// What the controller says, or why it does not.
    pub figures: Result<Figures, String>,
    /// One entry per variant.
    pub entries: Vec<Entry>,
}

impl Look {
    /// Looks.
    pub async fn take(cluster: &Cluster, arguments: &ClusterArguments) -> Result<Self, Failure> {
        let contact = Contact::find(cluster, arguments).await;
        let config = contact.namespace(arguments).map(str::to_owned);
        let (objects, figures) = futures::join!(
            Objects::read(cluster, config.as_deref()),
            contact.figures(&cluster.client)
        );
        Ok(Self::of(now(), contact, objects?, figures))
    }

    /// A look of which the parts are at hand.
    pub fn of(
        at: f64,
        contact: Contact,
        objects: Objects,
        figures: Result<Figures, String>,
    ) -> Self {
        let fleet = objects.fleet(&contact.settings.base);
        let entries = roster(&objects, &fleet, figures.as_ref().ok(), at);
        Self {
            at,
            contact,
            objects,
            fleet,
            figures,
            entries,
        }
    }

    /// The entries that these names mean, each once.
    ///
    /// # Errors
    /// A message about the first name that means none, or several namespaces.
    pub fn named(&self, wanted: &[VariantName], scope: &str) -> Result<Vec<&Entry>, Diagnostic> {
        let mut found: Vec<&Entry> = Vec::new();
        for name in wanted {
            let means = |e: &&Entry| name.means(&e.namespace, &e.name);
            let meant: Vec<&Entry> = self.entries.iter().filter(means).collect();
            match meant.as_slice() {
                [] => return Err(self.unknown(name, scope)),
                [one] => {
                    if !found.contains(one) {
                        found.push(one);
                    }
                }
                several => {
                    let spaces: Vec<&str> = several.iter().map(|e| e.namespace.as_str()).collect();
                    return Err(Diagnostic::new(format!(
                        "`{name}` is a variant in {}",
                        spaces.join(", ")
                    ))
                    .help("write NAMESPACE/NAME"));
                }
            }
        }
        Ok(found)
    }

    fn unknown(&self, name: &VariantName, scope: &str) -> Diagnostic {
        let missing = Diagnostic::new(format!("no variant is called `{name}` in {scope}"));
        let known = self.entries.iter().map(|e| e.name.as_str());
        let near = names::nearest(&name.name, known, str::to_lowercase);
        missing.help(near.map_or_else(
            || "`wva status -A` shows what there is".to_owned(),
            |near| format!("did you mean `{near}`?"),
        ))
    }
}
