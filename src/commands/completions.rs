//! `wva completions`: scripts that complete verbs, options and file names in a shell.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::arguments::Arguments;
use crate::console::Console;
use crate::failure::{Failure, Verdict};

/// Print a script that completes `wva` commands in your shell
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  source <(wva completions bash)                        for this session
  wva completions zsh > \"${fpath[1]}/_wva\"              for good
  wva completions fish > ~/.config/fish/completions/wva.fish")]
pub struct Completions {
    /// Your shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    /// Prints the script.
    pub fn run(&self, console: &Console) -> Result<Verdict, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "wva", &mut script);
        console.print(&String::from_utf8_lossy(&script))?;
        Ok(Verdict::Done)
    }
}
