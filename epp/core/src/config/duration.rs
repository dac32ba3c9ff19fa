//! Durations as Go writes them and quantities as Kubernetes does.

/// Seconds of `1h2m3.5s`, `500ms`; `None` for anything else, negative ones among them.
#[must_use]
pub fn seconds(text: &str) -> Option<f64> {
    if text == "0" {
        return Some(0.0);
    }
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let (number, after) = split(rest)?;
        let unit = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let scale = match &after[..unit] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        total += number * scale;
        rest = &after[unit..];
    }
    (!text.is_empty() && total.is_finite()).then_some(total)
}

/// The number of `5`, `5k`, `1.5M`, `1Gi`; `None` for anything else.
pub(super) fn quantity(text: &str) -> Option<f64> {
    let (number, unit) = split(text)?;
    let scale = match unit {
        "" => 1.0,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some(number * scale)
}

/// The number that a text begins with, and what follows.
fn split(text: &str) -> Option<(f64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    number.is_finite().then_some((number, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        assert_eq!(seconds("1h2m3.5s"), Some(3723.5));
        assert_eq!(seconds("200ms"), Some(0.2));
        assert_eq!(seconds("0s"), Some(0.0));
        for bad in ["", "5", "s", "-1s", "1x", "1.2.3s", "s1"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn quantities_are_kubernetes() {
        assert_eq!(quantity("1Gi"), Some(1_073_741_824.0));
        assert_eq!(quantity("5k"), Some(5000.0));
        for bad in ["", "Gi", "1Xi", "-3"] {
            assert_eq!(quantity(bad), None, "{bad}");
        }
    }
}
