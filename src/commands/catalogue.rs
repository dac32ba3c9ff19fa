//! `wva catalogue`: what is built in, what a file makes of it, and whether a file is sound.

mod check;
mod listing;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use wva_models::catalogue::{Catalogue, names};

use crate::console::Console;
use crate::diagnostic::Diagnostic;
use crate::failure::{Failure, Verdict};
use crate::fleet::Fleet;
use crate::input::Input;
use check::Checked;
use listing::Listing;

/// List the known accelerators, models and variants, or check a file of your own
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wva catalogue list                               what is built in
  wva catalogue list fleet.yaml                    the same with your file on top
  wva catalogue show llama-3.1-8b                  one model, and where it could run
  wva catalogue show H100 -o json                  one accelerator, for scripts
  wva catalogue check fleet.yaml                   is the file sound? exit code 2 and the place if not")]
pub struct CatalogueVerb {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List accelerators, models, variants and classes
    #[command(after_help = "Examples:
  wva catalogue list
  wva catalogue list fleet.yaml -o wide")]
    List {
        /// A catalogue, scenario or plan file; absent: only what is built in
        file: Option<PathBuf>,
    },
    /// Show one accelerator, model, variant or class with everything that belongs to it
    #[command(after_help = "Examples:
  wva catalogue show H100
  wva catalogue show meta-llama/Llama-3.1-8B-Instruct
  wva catalogue show llama-3.1-8b-h100 fleet.yaml -o yaml")]
    Show {
        /// Its name; registry ids and node labels work too
        name: String,
        /// A catalogue, scenario or plan file on top of what is built in
        file: Option<PathBuf>,
    },
    /// Check a file: names, numbers, units, memory, contradictions
    #[command(after_help = "Examples:
  wva catalogue check fleet.yaml && echo sound")]
    Check {
        /// A catalogue, scenario or plan file
        file: PathBuf,
    },
}

impl CatalogueVerb {
    /// Answers.
    pub fn run(&self, console: &Console) -> Result<Verdict, Failure> {
        match &self.action {
            Action::List { file } => console.answer(&Listing::new(&read(file)?))?,
            Action::Show { name, file } => console.answer(&about(read(file)?, name)?)?,
            Action::Check { file } => {
                let input = Input::read(file, "a catalogue")?;
                let catalogue = Fleet::read(&input)?.catalogue;
                console.answer(&Checked::new(&input.name, &catalogue))?;
            }
        }
        Ok(Verdict::Done)
    }
}

fn read(file: &Option<PathBuf>) -> Result<Catalogue, Failure> {
    let Some(path) = file else {
        return Ok(Catalogue::builtin());
    };
    let input = Input::read(path, "a catalogue")?;
    Ok(Fleet::read(&input)?.catalogue)
}

/// What belongs to `name`. A model without variants is offered on every accelerator that has a price.
fn about(mut catalogue: Catalogue, name: &str) -> Result<Listing, Failure> {
    let model = catalogue.model(name).map(|m| m.name.clone());
    if let Some(model) = model.filter(|m| catalogue.variants_of(m).next().is_none()) {
        // That nothing can be offered is an answer too: a model without variants.
        let _ = catalogue.offer(&model, &[], name);
    }
    let device = catalogue.accelerator(name).map(|a| a.name.clone());
    let model = catalogue.model(name).map(|m| m.name.clone());
    let variant = catalogue.variant(name).cloned();
    let mut listing = Listing::new(&catalogue);
    if let Some(v) = variant {
        listing.keep(
            |a| a.name == v.accelerator,
            |m| m.name == v.model,
            |w| w.name == v.name,
            |_| false,
        );
    } else if catalogue.class(name).is_some() {
        listing.keep(|_| false, |_| false, |_| false, |c| c.name == name);
    } else if let Some(device) = device {
        listing.keep(
            |a| a.name == device,
            |_| false,
            |v| v.accelerator == device,
            |_| false,
        );
    } else if let Some(model) = model {
        listing.keep(
            |_| false,
            |m| m.name == model,
            |v| v.model == model,
            |_| false,
        );
    } else {
        return Err(unknown(&catalogue, name).into());
    }
    Ok(listing)
}

fn unknown(catalogue: &Catalogue, name: &str) -> Diagnostic {
    let accelerators = catalogue.accelerators.iter().map(|a| &a.name);
    let known = accelerators
        .chain(catalogue.models.iter().map(|m| &m.name))
        .chain(catalogue.variants.iter().map(|v| &v.name))
        .chain(catalogue.classes.iter().map(|c| &c.name));
    let near = names::nearest(name, known.map(String::as_str), str::to_lowercase);
    Diagnostic::new(format!(
        "no accelerator, model, variant or class is called `{name}`"
    ))
    .help(
        near.map_or("`wva catalogue list` shows what there is".into(), |n| {
            format!("did you mean `{n}`?")
        }),
    )
}
