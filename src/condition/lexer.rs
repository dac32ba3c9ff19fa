//! Words, numbers and signs of a condition, each with the column where it starts.

/// A piece of the text.
#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    /// A name: letters, digits, `_`, and `-` before a letter (`hpa-queue`, but `static-5%` is a difference).
    Word(String),
    /// A number without a sign.
    Number(f64),
    /// `<`, `<=`, `(`, `%` and so on.
    Sign(&'static str),
}

/// A token and the column of its first character, from 1.
pub type Placed = (usize, Token);

/// Longer signs first, so that `<=` is not read as `<`.
const SIGNS: [&str; 15] = [
    "<=", ">=", "==", "!=", "<", ">", "=", "(", ")", "[", "]", "+", "-", "%", ".",
];

/// Splits the text; on a character that belongs nowhere, its column and itself.
pub fn tokens(text: &str) -> Result<Vec<Placed>, (usize, char)> {
    let characters: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < characters.len() {
        let rest = &characters[at..];
        let (length, token) = match rest[0] {
            c if c.is_whitespace() => (1, None),
            '$' => (1, Some(Token::Sign("$"))),
            c if c.is_ascii_digit() => number(rest),
            c if c.is_alphabetic() => word(rest),
            '\'' | '"' => quoted(rest).ok_or((at + 1, rest[0]))?,
            c => sign(rest).ok_or((at + 1, c))?,
        };
        found.extend(token.map(|t| (at + 1, t)));
        at += length;
    }
    Ok(found)
}

type Read = (usize, Option<Token>);

fn number(rest: &[char]) -> Read {
    let digit = |i: usize| rest.get(i).is_some_and(char::is_ascii_digit);
    let run = |from: usize| (from..).take_while(|&i| digit(i)).count();
    let mut length = run(0);
    if rest.get(length) == Some(&'.') && digit(length + 1) {
        length += 1 + run(length + 1);
    }
    let text: String = rest[..length].iter().collect();
    (length, text.parse().ok().map(Token::Number))
}

fn word(rest: &[char]) -> Read {
    let inside = |i: usize| match rest.get(i) {
        Some('-') => rest.get(i + 1).is_some_and(|c| c.is_alphabetic()),
        Some(c) => c.is_alphanumeric() || *c == '_',
        None => false,
    };
    let length = (0..).take_while(|&i| inside(i)).count();
    (length, Some(Token::Word(rest[..length].iter().collect())))
}

/// A name in quotes may hold anything.
fn quoted(rest: &[char]) -> Option<Read> {
    let end = rest.iter().skip(1).position(|c| *c == rest[0])?;
    Some((end + 2, Some(Token::Word(rest[1..=end].iter().collect()))))
}

fn sign(rest: &[char]) -> Option<Read> {
    let starts = |sign: &&str| {
        sign.chars()
            .enumerate()
            .all(|(i, c)| rest.get(i) == Some(&c))
    };
    let found = SIGNS.into_iter().find(|s| starts(s))?;
    Some((found.len(), Some(Token::Sign(found))))
}
