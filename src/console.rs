//! Stdout and stderr: answers go to one, everything else to the other, colours only to terminals.

use std::io::{self, IsTerminal, Write as _};

use serde::Serialize;

use crate::arguments::{Common, Format};
use crate::condition::{Condition, Quantity};
use crate::diagnostic::Diagnostic;
use crate::failure::{Failure, Verdict};
use crate::progress::Progress;
use crate::table::{Table, Tone, paint};

/// What a command found: JSON and YAML follow from the fields, the text for people is written by hand.
pub trait Answer: Serialize {
    /// Name of the verb; the schema is `wva.<verb>/v1`.
    const VERB: &'static str;

    /// Writes the answer for people.
    fn describe(&self, page: &mut Page);
}

/// An answer with its schema in front.
#[derive(Serialize)]
struct Envelope<'a, A> {
    schema: String,
    #[serde(flatten)]
    answer: &'a A,
}

/// The terminal as this run may use it.
#[derive(Debug)]
pub struct Console {
    format: Format,
    quiet: bool,
    colour_out: bool,
    colour_err: bool,
}

impl Console {
    /// Looks at the terminal: colours where it is one and `NO_COLOR` is not set.
    pub fn new(common: &Common) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
            && std::env::var_os("TERM").is_none_or(|v| v != "dumb");
        Self {
            format: common.format,
            quiet: common.quiet,
            colour_out: wanted && io::stdout().is_terminal(),
            colour_err: wanted && io::stderr().is_terminal(),
        }
    }

    /// Prints the answer on stdout in the chosen format.
    pub fn answer<A: Answer>(&self, answer: &A) -> Result<(), Failure> {
        let envelope = Envelope {
            schema: format!("wva.{}/v1", A::VERB),
            answer,
        };
        let mut text = match self.format {
            Format::Json => serde_json::to_string_pretty(&envelope).map_err(io::Error::other)?,
            Format::Yaml => serde_saphyr::to_string(&envelope).map_err(io::Error::other)?,
            Format::Table | Format::Wide => self.page(answer),
        };
        if !text.ends_with('\n') {
            text.push('\n');
        }
        self.print(&text)
    }

    /// The answer for people, as it would be printed.
    pub fn page<A: Answer>(&self, answer: &A) -> String {
        let mut page = Page {
            wide: self.format == Format::Wide,
            colour: self.colour_out,
            text: String::new(),
        };
        answer.describe(&mut page);
        page.text
    }

    /// The answer as one line of JSON, for streams of answers.
    pub fn answer_line<A: Answer>(&self, answer: &A) -> Result<(), Failure> {
        let envelope = Envelope {
            schema: format!("wva.{}/v1", A::VERB),
            answer,
        };
        let mut text = serde_json::to_string(&envelope).map_err(io::Error::other)?;
        text.push('\n');
        self.print(&text)
    }

    /// Prints text on stdout as it is.
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    }

    /// A remark on stderr, unless `--quiet`. Nobody reading stderr is no reason to fail.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// An error on stderr, `--quiet` or not.
    pub fn complain(&self, diagnostic: &Diagnostic) {
        let _ = write!(io::stderr(), "{}", diagnostic.render(self.colour_err));
    }

    /// A progress bar on stderr where that is a terminal; silent otherwise.
    pub fn progress(&self, steps: usize, what: &str) -> Progress {
        Progress::new(steps, what, !self.quiet && io::stderr().is_terminal())
    }

    /// Whether nothing but the answer and errors is wanted.
    pub const fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether the answer is text for people.
    pub fn for_people(&self) -> bool {
        matches!(self.format, Format::Table | Format::Wide)
    }

    /// Exit code 1, with the reasons on stderr, if the condition of `--fail-if` holds for these figures.
    pub fn judge(
        &self,
        condition: Option<&Condition>,
        look_up: &dyn Fn(&Quantity) -> Option<f64>,
    ) -> Verdict {
        let reasons = condition.map_or_else(Vec::new, |c| c.reasons(look_up));
        for reason in &reasons {
            let failed = paint("failed:", Tone::Bad, self.colour_err);
            let _ = writeln!(io::stderr(), "{failed} {reason}");
        }
        if reasons.is_empty() {
            Verdict::Done
        } else {
            Verdict::NotHeld
        }
    }
}

/// Text for people, as it is being written.
#[derive(Debug)]
pub struct Page {
    /// Whether more columns are wanted.
    pub wide: bool,
    colour: bool,
    text: String,
}

impl Page {
    /// A line of text.
    pub fn line(&mut self, text: impl AsRef<str>) {
        self.text.push_str(text.as_ref());
        self.text.push('\n');
    }

    /// A title with an empty line before it, except at the top.
    pub fn title(&mut self, text: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        let painted = paint(text, Tone::Strong, self.colour);
        self.line(painted);
    }

    /// A piece of text in a tone, to be put into a line.
    pub fn toned(&self, text: &str, tone: Tone) -> String {
        paint(text, tone, self.colour)
    }

    /// A table; nothing when it has no row.
    pub fn table(&mut self, table: &Table) {
        if !table.is_empty() {
            self.text.push_str(&table.render(self.colour));
        }
    }
}
