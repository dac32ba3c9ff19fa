//! From tokens to a condition, by recursive descent.

use super::lexer::{Placed, Token, tokens};
use super::{Bound, Comparison, Expression, Kind, Operator, Quantity, Vocabulary};
use wva_models::catalogue::names;

/// Where, what is wrong, and what to write instead.
pub type Complaint = (usize, String, String);

const EXAMPLES: &str = "for example `attainment<99% or p99_ttft>1s`, `cost>static+5%`";

/// More nested parentheses than this are a mistake, and would exhaust the stack.
const DEPTH: usize = 50;

/// The condition in `text`.
pub fn parse(text: &str, vocabulary: &Vocabulary) -> Result<Expression, Complaint> {
    let tokens = tokens(text).map_err(|(column, c)| {
        let problem = if matches!(c, '\'' | '"') {
            "a quote that does not end".to_owned()
        } else {
            format!("`{c}` means nothing here")
        };
        (column, problem, EXAMPLES.to_owned())
    })?;
    let end = text.chars().count() + 1;
    let mut parser = Parser {
        tokens,
        next: 0,
        end,
        vocabulary,
    };
    let expression = parser.condition(0)?;
    match parser.peek() {
        None => Ok(expression),
        Some(_) => Err(parser.unexpected("`and`, `or` or the end")),
    }
}

struct Parser<'a> {
    tokens: Vec<Placed>,
    next: usize,
    end: usize,
    vocabulary: &'a Vocabulary,
}

impl Parser<'_> {
    fn condition(&mut self, depth: usize) -> Result<Expression, Complaint> {
        let mut terms = vec![self.term(depth)?];
        while self.take_word("or") {
            terms.push(self.term(depth)?);
        }
        Ok(single(terms, Expression::Any))
    }

    fn term(&mut self, depth: usize) -> Result<Expression, Complaint> {
        let mut factors = vec![self.factor(depth)?];
        while self.take_word("and") {
            factors.push(self.factor(depth)?);
        }
        Ok(single(factors, Expression::All))
    }

    fn factor(&mut self, depth: usize) -> Result<Expression, Complaint> {
        if depth > DEPTH {
            return Err(self.complaint("too many parentheses", EXAMPLES));
        }
        if self.take("(") {
            let inner = self.condition(depth + 1)?;
            return if self.take(")") {
                Ok(inner)
            } else {
                Err(self.unexpected("`and`, `or` or `)`"))
            };
        }
        let (left, kind) = self.quantity()?;
        let operator = self.operator()?;
        let right = self.bound(&left, kind)?;
        Ok(Expression::Compare(Comparison {
            left,
            kind,
            operator,
            right,
        }))
    }

    fn quantity(&mut self) -> Result<(Quantity, Kind), Complaint> {
        let mut column = self.column();
        let mut name = self.word("a metric")?;
        let mut subject = self
            .vocabulary
            .subjects
            .first()
            .cloned()
            .unwrap_or_default();
        if self.take(".") {
            subject = self.known(column, "policy", &name, &self.vocabulary.subjects)?;
            column = self.column();
            name = self.word("a metric")?;
        }
        let metrics: Vec<String> = self
            .vocabulary
            .metrics
            .iter()
            .map(|(n, _)| n.clone())
            .collect();
        let metric = self.known(column, "metric", &name, &metrics)?;
        let kind = self
            .vocabulary
            .metrics
            .iter()
            .find(|(n, _)| *n == metric)
            .map_or(Kind::Number, |m| m.1);
        let mut class = None;
        if self.take("[") {
            let column = self.column();
            let name = self.word("a class")?;
            class = Some(self.known(column, "class", &name, &self.vocabulary.classes)?);
            if !self.take("]") {
                return Err(self.unexpected("`]`"));
            }
        }
        Ok((
            Quantity {
                subject,
                metric,
                class,
            },
            kind,
        ))
    }

    fn operator(&mut self) -> Result<Operator, Complaint> {
        let signs = [
            ("<=", Operator::AtMost),
            (">=", Operator::AtLeast),
            ("==", Operator::Equal),
            ("=", Operator::Equal),
            ("!=", Operator::Unequal),
            ("<", Operator::Less),
            (">", Operator::More),
        ];
        let found = signs.into_iter().find(|(sign, _)| self.take(sign));
        found
            .map(|f| f.1)
            .ok_or_else(|| self.unexpected("a comparison such as `<` or `>=`"))
    }

    fn bound(&mut self, left: &Quantity, kind: Kind) -> Result<Bound, Complaint> {
        let column = self.column();
        let named = match self.peek() {
            Some(Token::Word(name)) => {
                let name = name.clone();
                self.next += 1;
                Some(self.known(column, "policy", &name, &self.vocabulary.subjects)?)
            }
            _ => None,
        };
        let sign = if self.take("+") {
            1.0
        } else if self.take("-") {
            -1.0
        } else if let Some(name) = named {
            return Ok(relative(left, name, 0.0));
        } else {
            return self.value(kind).map(Bound::Value);
        };
        let change = sign * self.number()? / 100.0;
        if !self.take("%") {
            return Err(self.unexpected("`%`: a sign makes the bound relative to another policy"));
        }
        let base = named.map_or_else(|| self.other(column, left), Ok)?;
        Ok(relative(left, base, change))
    }

    /// The policy that a bare `+5%` is relative to: the only other one.
    fn other(&self, column: usize, left: &Quantity) -> Result<String, Complaint> {
        let others: Vec<&String> = self
            .vocabulary
            .subjects
            .iter()
            .filter(|s| **s != left.subject)
            .collect();
        match others[..] {
            [only] => Ok(only.clone()),
            [] => Err((
                column,
                "there is no other policy to compare with".into(),
                "run two: `--policy wva,static`".into(),
            )),
            [first, ..] => {
                let help = format!("name it: `{}>{first}+5%`", left.metric);
                Err((
                    column,
                    format!("relative to which of the {} other policies?", others.len()),
                    help,
                ))
            }
        }
    }

    /// A number in the metric's own unit.
    fn value(&mut self, kind: Kind) -> Result<f64, Complaint> {
        let dollar = self.take("$");
        let number = self.number()?;
        let column = self.column();
        let unit = if self.take("%") {
            "%".to_owned()
        } else {
            self.unit()
        };
        match (kind, dollar, unit.as_str()) {
            (Kind::Share, false, "") | (Kind::Number, false, "") | (Kind::Money, _, "") => {
                Ok(number)
            }
            (Kind::Share, false, "%") => Ok(number / 100.0),
            (Kind::Latency, false, "ms") => Ok(number),
            (Kind::Latency, false, "s") => Ok(number * 1e3),
            (Kind::Latency, false, "min") => Ok(number * 6e4),
            (Kind::Latency, false, "") => Err((
                column,
                "a latency needs a unit".into(),
                format!("write `{number}ms` or `{number}s`"),
            )),
            (kind, ..) => Err((
                column,
                "this unit does not fit the metric".into(),
                kind.units().into(),
            )),
        }
    }

    /// A word that follows a number and is not the start of something else.
    fn unit(&mut self) -> String {
        match self.peek() {
            Some(Token::Word(word)) if word != "or" && word != "and" => {
                let word = word.clone();
                self.next += 1;
                word
            }
            _ => String::new(),
        }
    }

    fn number(&mut self) -> Result<f64, Complaint> {
        if let Some(&Token::Number(value)) = self.peek() {
            self.next += 1;
            return Ok(value);
        }
        Err(self.unexpected("a number"))
    }

    fn word(&mut self, what: &str) -> Result<String, Complaint> {
        if let Some(Token::Word(word)) = self.peek() {
            let word = word.clone();
            self.next += 1;
            return Ok(word);
        }
        Err(self.unexpected(what))
    }

    fn known(
        &self,
        column: usize,
        what: &str,
        name: &str,
        known: &[String],
    ) -> Result<String, Complaint> {
        if known.iter().any(|k| k == name) {
            return Ok(name.to_owned());
        }
        let help = match names::nearest(name, known.iter().map(String::as_str), str::to_lowercase) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => format!("nothing here has a {what}"),
            None => format!("known: {}", known.join(", ")),
        };
        Err((column, format!("no {what} is called `{name}`"), help))
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|t| &t.1)
    }

    fn column(&self) -> usize {
        self.tokens.get(self.next).map_or(self.end, |t| t.0)
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(s)) if *s == sign);
        self.next += usize::from(found);
        found
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(w)) if w == word);
        self.next += usize::from(found);
        found
    }

    fn unexpected(&self, wanted: &str) -> Complaint {
        let message = match self.peek() {
            None => format!("the condition ends where {wanted} should be"),
            Some(_) => format!("expected {wanted} here"),
        };
        self.complaint(&message, EXAMPLES)
    }

    fn complaint(&self, message: &str, help: &str) -> Complaint {
        (self.column(), message.to_owned(), help.to_owned())
    }
}

fn relative(left: &Quantity, subject: String, change: f64) -> Bound {
    let base = Quantity {
        subject,
        ..left.clone()
    };
    Bound::Relative { base, change }
}

fn single(mut parts: Vec<Expression>, many: fn(Vec<Expression>) -> Expression) -> Expression {
    if parts.len() == 1 {
        parts.remove(0)
    } else {
        many(parts)
    }
}

impl Kind {
    fn units(self) -> &'static str {
        match self {
            Self::Share => "a share: `0.99` or `99%`",
            Self::Latency => "a latency: `500ms`, `1.5s` or `2min`",
            Self::Money => "an amount: `12` or `$12`",
            Self::Number => "a plain number",
        }
    }
}
