//! Numbers as people read them. JSON carries them in full.

/// A number with about three significant digits, without a tail of zeros.
pub fn short(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    let digits = match value.abs() {
        0.0 => 0,
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        v if v >= 0.1 => 3,
        _ => 4,
    };
    let text = format!("{value:.digits$}");
    let text = if text.bytes().all(|b| matches!(b, b'-' | b'0' | b'.')) {
        "0".to_owned()
    } else {
        text
    };
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A duration given in milliseconds: `0.8 ms`, `312 ms`, `4.13 s`, `12 min`.
pub fn millis(value: f64) -> String {
    match value {
        v if !v.is_finite() => "-".to_owned(),
        v if v.abs() < 999.5 => format!("{} ms", short(v)),
        v if v.abs() < 99_950.0 => format!("{} s", short(v / 1e3)),
        v if v.abs() < 6e6 => format!("{} min", short(v / 6e4)),
        v => format!("{} h", short(v / 3.6e6)),
    }
}

/// A duration given in seconds.
pub fn seconds(value: f64) -> String {
    millis(value * 1e3)
}

/// How long ago something was, in seconds, as kubectl has it: `45s`, `12m`, `3h`, `8d`.
pub fn age(seconds: f64) -> String {
    match seconds {
        s if !s.is_finite() => "-".to_owned(),
        s if s < 120.0 => format!("{s:.0}s"),
        s if s < 7200.0 => format!("{:.0}m", (s / 60.0).floor()),
        s if s < 172_800.0 => format!("{:.0}h", (s / 3600.0).floor()),
        s => format!("{:.0}d", (s / 86_400.0).floor()),
    }
}

/// US dollars: cents below 1,000, else whole dollars.
pub fn dollars(value: f64) -> String {
    match value {
        v if !v.is_finite() => "-".to_owned(),
        v if v <= -0.005 => format!("-{}", dollars(-v)),
        v if v < 1000.0 => format!("${:.2}", v.max(0.0)),
        v => format!("${}", grouped(v)),
    }
}

/// A fraction as a percentage, with more digits the closer it is to all of it: `82.1 %`, `99.53 %`, `99.996 %`.
/// Never rounded up to 100 % when something is missing.
pub fn percent(fraction: f64) -> String {
    if !fraction.is_finite() {
        return "-".to_owned();
    }
    let digits = match 1.0 - fraction {
        0.0 => 0,
        missing if missing.abs() < 1e-3 => 3,
        missing if missing.abs() < 1e-2 => 2,
        _ => 1,
    };
    let scale = 10f64.powi(digits);
    let value = if fraction < 1.0 {
        (fraction * 100.0 * scale).floor() / scale
    } else {
        fraction * 100.0
    };
    format!("{value:.*} %", usize::try_from(digits).unwrap_or(0))
}

/// A whole number with commas between thousands.
pub fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut out = if value < 0.0 {
        "-".to_owned()
    } else {
        String::new()
    };
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// `1 class`, `3 classes`.
pub fn count(n: usize, one: &str, many: &str) -> String {
    format!("{} {}", grouped(n as f64), if n == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_three_digits() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (0.126, "0.126"),
            (12.34, "12.3"),
            (1234.5, "1234"),
            (0.00012, "0.0001"),
            (-1e-17, "0"),
        ] {
            assert_eq!(short(value), text);
        }
    }

    #[test]
    fn picks_the_unit_of_a_duration() {
        for (value, text) in [
            (0.8, "0.8 ms"),
            (312.2, "312 ms"),
            (999.6, "1 s"),
            (4130.0, "4.13 s"),
            (720_000.0, "12 min"),
            (f64::NAN, "-"),
        ] {
            assert_eq!(millis(value), text);
        }
    }

    #[test]
    fn ages_are_short() {
        for (value, text) in [
            (45.4, "45s"),
            (125.0, "2m"),
            (7300.0, "2h"),
            (700_000.0, "8d"),
            (f64::NAN, "-"),
        ] {
            assert_eq!(age(value), text);
        }
    }

    #[test]
    fn never_rounds_up_to_everything() {
        for (value, text) in [
            (1.0, "100 %"),
            (0.99999, "99.999 %"),
            (0.999_999_9, "99.999 %"),
            (0.9953, "99.53 %"),
            (0.5, "50.0 %"),
            (0.0, "0.0 %"),
        ] {
            assert_eq!(percent(value), text);
        }
    }

    #[test]
    fn groups_thousands() {
        for (value, text) in [
            (5.0, "5"),
            (864_000.0, "864,000"),
            (-1234.0, "-1,234"),
            (1e6, "1,000,000"),
        ] {
            assert_eq!(grouped(value), text);
        }
        assert_eq!(
            [12.346, 12_345.6, -9.0, -1e-9].map(dollars),
            ["$12.35", "$12,346", "-$9.00", "$0.00"]
        );
        assert_eq!(
            (
                count(1, "class", "classes"),
                count(1000, "class", "classes")
            ),
            ("1 class".into(), "1,000 classes".into())
        );
    }
}
