//! Kubernetes quantities (`8`, `500m`, `24Gi`, `1e3`) as numbers.

/// The number that a quantity stands for; `None` for what is not a finite, non-negative quantity.
#[must_use]
pub fn parse(text: &str) -> Option<f64> {
    let text = text.trim();
    let end = text
        .char_indices()
        .find(|&(i, c)| !(c.is_ascii_digit() || c == '.' || (i == 0 && c == '+')))
        .map_or(text.len(), |(i, _)| i);
    let (number, suffix) = text.split_at(end);
    let value = number.parse::<f64>().ok()? * factor(suffix)?;
    (value.is_finite() && value >= 0.0).then_some(value)
}

fn factor(suffix: &str) -> Option<f64> {
    Some(match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024.0_f64.powi(2),
        "Gi" => 1024.0_f64.powi(3),
        "Ti" => 1024.0_f64.powi(4),
        "Pi" => 1024.0_f64.powi(5),
        "Ei" => 1024.0_f64.powi(6),
        exponent => {
            let digits = exponent.strip_prefix(['e', 'E'])?;
            10.0_f64.powi(digits.parse::<i32>().ok()?)
        }
    })
}

/// The whole number of devices that a quantity stands for; fractions count as the device they share.
#[must_use]
pub fn devices(text: &str) -> Option<u32> {
    let value = parse(text)?.ceil();
    (value <= f64::from(u32::MAX)).then_some(value as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_numbers() {
        let close = |a: Option<f64>, b: f64| assert!((a.expect("valid") - b).abs() <= 1e-9 * b);
        close(parse("8"), 8.0);
        close(parse("500m"), 0.5);
        close(parse("24Gi"), 24.0 * 1073741824.0);
        close(parse("1e3"), 1000.0);
        close(parse("2E"), 2e18);
        close(parse(" 1.5k "), 1500.0);
        for bad in ["", "abc", "-1", "1x", "1e", "NaN", "1e999", "Gi"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(devices("1500m"), Some(2));
    }
}
