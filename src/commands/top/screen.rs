//! The terminal while `wva top` draws on it: a screen of its own, keys one by one, and everything back as it was
//! afterwards, however that comes about.
//!
//! A widget library would draw the same table with a layout engine and a dozen crates; what is needed here is to write
//! lines no longer than the screen is wide.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use crossterm::terminal::{self, EnterAlternateScreen, LeaveAlternateScreen};
use crossterm::{cursor, execute};
use tokio::sync::mpsc::Sender;

/// Time between two looks at whether the screen is closed.
const POLL: Duration = Duration::from_millis(200);

/// What the user wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pressed {
    /// To stop.
    Quit,
    /// To look again now.
    Again,
    /// Nothing, but the screen has another size.
    Resized,
}

/// The terminal, taken over.
#[derive(Debug)]
pub struct Screen {
    closed: Arc<AtomicBool>,
}

impl Screen {
    /// Takes the terminal over; what is pressed goes to `keys`.
    pub fn open(keys: Sender<Pressed>) -> io::Result<Self> {
        terminal::enable_raw_mode()?;
        let closed = Arc::new(AtomicBool::new(false));
        // From here on, dropping it puts the terminal back.
        let screen = Self {
            closed: Arc::clone(&closed),
        };
        execute!(io::stdout(), EnterAlternateScreen, cursor::Hide)?;
        std::thread::spawn(move || listen(&closed, &keys));
        Ok(screen)
    }

    /// Its width, characters.
    pub fn width(&self) -> io::Result<usize> {
        Ok(terminal::size()?.0.into())
    }

    /// Draws the page from the top, cut to the screen, with a last line for the keys that mean something and for trouble.
    pub fn draw(&mut self, page: &str, keys: &str, trouble: Option<&str>) -> io::Result<()> {
        let (width, height) = terminal::size()?;
        let (width, height) = (usize::from(width), usize::from(height));
        let mut out = String::from("\x1b[H");
        for line in page.lines().take(height.saturating_sub(1)) {
            out.push_str(&cut(line, width));
            out.push_str("\x1b[K\r\n");
        }
        out.push_str("\x1b[J");
        let foot = trouble.map_or(keys.to_owned(), |t| format!("the last look failed: {t}"));
        out.push_str(&format!("\x1b[{height};1H{}", cut(&foot, width)));
        let mut stdout = io::stdout().lock();
        stdout.write_all(out.as_bytes())?;
        stdout.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        // Nothing more can be done for a terminal that does not listen.
        let _ = execute!(io::stdout(), cursor::Show, LeaveAlternateScreen);
        let _ = terminal::disable_raw_mode();
    }
}

fn listen(closed: &AtomicBool, keys: &Sender<Pressed>) {
    while !closed.load(Ordering::Relaxed) {
        let pressed = match event::poll(POLL) {
            Ok(true) => event::read().ok().and_then(|e| meaning(&e)),
            Ok(false) => None,
            Err(_) => Some(Pressed::Quit),
        };
        if let Some(pressed) = pressed
            && keys.blocking_send(pressed).is_err()
        {
            return;
        }
    }
}

/// What an event means.
fn meaning(event: &Event) -> Option<Pressed> {
    match event {
        Event::Resize(..) => Some(Pressed::Resized),
        Event::Key(key) if key.kind != KeyEventKind::Release => match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                Some(Pressed::Quit)
            }
            KeyCode::Char('q') | KeyCode::Esc => Some(Pressed::Quit),
            KeyCode::Char('r' | ' ') => Some(Pressed::Again),
            _ => None,
        },
        _ => None,
    }
}

/// At most `width` visible characters of a line; colours count for nothing and end with the line.
fn cut(line: &str, width: usize) -> String {
    let mut out = String::new();
    let (mut seen, mut escape, mut coloured) = (0, false, false);
    for c in line.chars() {
        if escape || c == '\x1b' {
            escape = c != 'm';
            coloured = true;
        } else if seen == width {
            break;
        } else {
            seen += 1;
        }
        out.push(c);
    }
    if coloured {
        out.push_str("\x1b[0m");
    }
    out
}

#[cfg(test)]
mod tests {
    use crossterm::event::KeyEvent;

    use super::*;

    #[test]
    fn lines_are_cut_by_what_is_visible() {
        assert_eq!(cut("abcdef", 3), "abc");
        assert_eq!(cut("a\x1b[31mbc\x1b[0mdef", 3), "a\x1b[31mbc\x1b[0m\x1b[0m");
        assert_eq!(cut("…äö", 2), "…ä");
    }

    #[test]
    fn keys_mean_what_they_do_elsewhere() {
        let key = |code, modifiers| meaning(&Event::Key(KeyEvent::new(code, modifiers)));
        let none = KeyModifiers::NONE;
        assert_eq!(key(KeyCode::Char('q'), none), Some(Pressed::Quit));
        assert_eq!(
            key(KeyCode::Char('c'), KeyModifiers::CONTROL),
            Some(Pressed::Quit)
        );
        assert_eq!(key(KeyCode::Char('c'), none), None);
        assert_eq!(key(KeyCode::Char('r'), none), Some(Pressed::Again));
        assert_eq!(meaning(&Event::Resize(80, 24)), Some(Pressed::Resized));
    }
}
