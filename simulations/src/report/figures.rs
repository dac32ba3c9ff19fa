//! Numbers as people read them: a unit, three or four digits, thousands apart. What is not a number reads [`NONE`].

/// What stands for a figure that does not exist.
pub(super) const NONE: &str = "–";

/// Dollars: cents below a thousand, whole dollars above.
pub(super) fn dollars(usd: f64) -> String {
    let size = usd.abs();
    let sign = if usd < 0.0 { "−" } else { "" };
    if !usd.is_finite() {
        NONE.to_owned()
    } else if size >= 1000.0 {
        format!("{sign}${}", grouped(size))
    } else if size > 0.0 && size < 0.01 {
        format!("{sign}${}", digits(size, 2))
    } else {
        format!("{sign}${size:.2}")
    }
}

/// A share as a percentage, cut rather than rounded: 99.996 % never reads 100 %, and 98.96 % never reads 99 %.
pub(super) fn percent(share: f64) -> String {
    if !share.is_finite() {
        return NONE.to_owned();
    }
    let decimals = match share.abs() {
        s if s >= 1.0 => 0,
        s if s >= 0.999 => 3,
        s if s >= 0.99 => 2,
        _ => 1,
    };
    let scale = 10_f64.powi(decimals);
    // A hair is added first, since 0.57 · 100 is 56.999…
    let cut = (share * 100.0 * scale + share.signum() * 1e-7).trunc() / scale;
    format!("{cut} %").replace('-', "−")
}

/// A latency in milliseconds, as ms, s or min.
pub(super) fn latency(ms: f64) -> String {
    match ms {
        m if !m.is_finite() => NONE.to_owned(),
        m if m < 1000.0 => format!("{} ms", digits(m, 3)),
        m if m < 120_000.0 => format!("{} s", digits(m / 1000.0, 3)),
        m => format!("{} min", digits(m / 60_000.0, 3)),
    }
}

/// A length of time in words: `24 h`, `1 h 30 min`, `90 s`.
pub(super) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return NONE.to_owned();
    }
    let whole = seconds.round();
    if whole <= 120.0 {
        return format!("{} s", digits(seconds, 3));
    }
    let (hours, minutes) = ((whole / 3600.0).floor(), (whole % 3600.0 / 60.0).floor());
    let rest = whole % 60.0;
    let parts = [(hours, "h"), (minutes, "min"), (rest, "s")];
    let words = parts.iter().filter(|p| p.0 > 0.0);
    let words: Vec<String> = words
        .map(|(n, unit)| format!("{} {unit}", grouped(*n)))
        .take(2)
        .collect();
    words.join(" ")
}

/// A time since the start as a clock shows it; days are counted from the second on.
pub(super) fn clock(seconds: f64) -> String {
    if !seconds.is_finite() {
        return NONE.to_owned();
    }
    let whole = seconds.clamp(0.0, 1e12).round() as u64;
    if whole == 86_400 {
        return "24:00".to_owned();
    }
    let (day, hour, minute, second) = (
        whole / 86_400,
        whole / 3600 % 24,
        whole / 60 % 60,
        whole % 60,
    );
    let mut out = if day > 0 {
        format!("day {} {hour:02}:{minute:02}", day + 1)
    } else {
        format!("{hour:02}:{minute:02}")
    };
    if second > 0 {
        out.push_str(&format!(":{second:02}"));
    }
    out
}

/// A count with its thousands apart.
pub(super) fn count(n: u64) -> String {
    let text = n.to_string();
    let mut out = String::with_capacity(text.len() + text.len() / 3);
    for (i, c) in text.chars().enumerate() {
        if i > 0 && (text.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// A number to so many significant digits, without a trailing fraction of zeros.
pub(super) fn digits(value: f64, significant: i32) -> String {
    if !value.is_finite() {
        return NONE.to_owned();
    }
    if value.abs() >= 1e15 || (value != 0.0 && value.abs() < 1e-6) {
        return format!("{value:.1e}").replace('-', "−");
    }
    let magnitude = if value == 0.0 {
        0
    } else {
        value.abs().log10().floor() as i32
    };
    let decimals = (significant - 1 - magnitude).clamp(0, 9);
    if decimals == 0 && value.abs() >= 1000.0 {
        let sign = if value < 0.0 { "−" } else { "" };
        return format!("{sign}{}", grouped(value.abs()));
    }
    let text = format!("{value:.*}", decimals as usize);
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    text.replace('-', "−")
}

fn grouped(value: f64) -> String {
    if value < 1e15 {
        count(value.round() as u64)
    } else {
        format!("{value:.2e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_units_and_sensible_precision() {
        assert_eq!(dollars(12.345), "$12.35");
        assert_eq!(dollars(1234.5), "$1,235");
        assert_eq!(dollars(-3.0), "−$3.00");
        assert_eq!(latency(41.26), "41.3 ms");
        assert_eq!(latency(1500.0), "1.5 s");
        assert_eq!(latency(180_000.0), "3 min");
        assert_eq!(duration(86_400.0), "24 h");
        assert_eq!(duration(5400.0), "1 h 30 min");
        assert_eq!(duration(90.0), "90 s");
        assert_eq!(clock(21_600.0), "06:00");
        assert_eq!(clock(86_400.0 + 61.0), "day 2 00:01:01");
        assert_eq!(count(864_000), "864,000");
        assert_eq!(digits(0.0, 3), "0");
        assert_eq!(digits(100.0, 3), "100");
        assert_eq!(digits(12_345.6, 3), "12,346");
    }

    #[test]
    fn a_share_is_never_flattered() {
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(percent(0.999_999_9), "99.999 %");
        assert_eq!(percent(0.989_99), "98.9 %");
        assert_eq!(percent(0.995), "99.5 %");
        assert_eq!(percent(0.57), "57 %");
        assert_eq!(percent(0.0), "0 %");
    }

    #[test]
    fn what_is_no_number_reads_as_none() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(dollars(bad), NONE);
            assert_eq!(percent(bad), NONE);
            assert_eq!(latency(bad), NONE);
            assert_eq!(duration(bad), NONE);
            assert_eq!(clock(bad), NONE);
            assert_eq!(digits(bad, 3), NONE);
        }
    }
}
