//! A strict reader of the HTML that reports write: tags balance, attributes are quoted, pictures hold plain numbers.

/// Elements that have no end tag.
const VOID: [&str; 4] = ["meta", "link", "br", "input"];

/// One start tag.
pub struct Tag {
    pub name: String,
    pub attributes: Vec<(String, String)>,
}

/// All start tags of a page whose tags balance.
pub struct Page {
    pub tags: Vec<Tag>,
}

impl Page {
    /// Reads a page; panics where it is not well formed.
    pub fn parse(text: &str) -> Self {
        let mut rest = text.strip_prefix("<!doctype html>").expect("a doctype");
        let (mut open, mut tags): (Vec<String>, Vec<Tag>) = (Vec::new(), Vec::new());
        while let Some(at) = rest.find('<') {
            assert!(!rest[..at].contains('>'), "stray > in {:?}", &rest[..at]);
            rest = &rest[at + 1..];
            if let Some(closing) = rest.strip_prefix('/') {
                let end = closing.find('>').expect("an end");
                assert_eq!(
                    open.pop().as_deref(),
                    Some(&closing[..end]),
                    "after {:?}",
                    tail(text, rest)
                );
                rest = &closing[end + 1..];
                continue;
            }
            let (tag, after) = start(rest);
            rest = after;
            let raw = matches!(tag.name.as_str(), "script" | "style");
            if raw {
                let end = format!("</{}>", tag.name);
                let at = rest.find(&end).expect("an end of raw text");
                rest = &rest[at + end.len()..];
            } else if !VOID.contains(&tag.name.as_str()) {
                open.push(tag.name.clone());
            }
            tags.push(tag);
        }
        assert!(open.is_empty(), "left open: {open:?}");
        Self { tags }
    }

    /// Start tags of this name.
    pub fn count(&self, name: &str) -> usize {
        self.tags.iter().filter(|t| t.name == name).count()
    }

    /// No handlers, no links outside, and numbers only where pictures need numbers.
    pub fn assert_safe(&self) {
        for tag in &self.tags {
            for (name, value) in &tag.attributes {
                assert!(!name.starts_with("on"), "{name} in {}", tag.name);
                match name.as_str() {
                    "d" => assert!(is_path(value), "path {value:?}"),
                    "style" => assert!(is_style(value), "style {value:?}"),
                    "viewBox" => assert!(value.split(' ').all(is_number), "{value:?}"),
                    "href" => assert!(value.starts_with('#') || value == "data:,", "{value:?}"),
                    _ => {}
                }
            }
        }
    }
}

fn tail<'a>(text: &'a str, rest: &str) -> &'a str {
    let at = text.len() - rest.len();
    let mut from = at.saturating_sub(200);
    while !text.is_char_boundary(from) {
        from -= 1;
    }
    &text[from..at]
}

/// Reads `name a="b">` and returns what follows.
fn start(text: &str) -> (Tag, &str) {
    let end = text.find([' ', '>']).expect("a name");
    let mut tag = Tag {
        name: text[..end].to_owned(),
        attributes: Vec::new(),
    };
    assert!(
        tag.name.chars().all(|c| c.is_ascii_alphanumeric()),
        "tag {:?}",
        tag.name
    );
    let mut rest = text[end..].trim_start();
    while !rest.starts_with('>') {
        let end = rest.find(['=', ' ', '>']).expect("an attribute");
        let name = rest[..end].to_owned();
        rest = &rest[end..];
        let mut value = String::new();
        if let Some(quoted) = rest.strip_prefix("=\"") {
            let end = quoted.find('"').expect("a closing quote");
            value = quoted[..end].to_owned();
            rest = &quoted[end + 1..];
        }
        tag.attributes.push((name, value));
        rest = rest.trim_start();
    }
    (tag, &rest[1..])
}

fn is_number(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_digit() || c == '.' || c == '-')
        && text.parse::<f64>().is_ok_and(f64::is_finite)
}

fn is_path(path: &str) -> bool {
    let numbers = path.split(|c: char| "MLHVZh ".contains(c));
    numbers.filter(|n| !n.is_empty()).all(is_number)
}

fn is_style(style: &str) -> bool {
    style.split(';').all(|one| {
        let Some((_, value)) = one.split_once(':') else {
            return false;
        };
        let plain = value.trim_end_matches("px").trim_end_matches('%');
        is_number(plain)
            || value.starts_with("url(#starting-")
            || value.starts_with("url(#pending-")
    })
}
