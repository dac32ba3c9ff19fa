//! Names as people, registries, node labels and engines spell them.

use crate::model::Precision;

/// Endings of model ids that do not change the architecture.
const MODEL_ENDINGS: [&str; 17] = [
    "-instruct",
    "-chat",
    "-it",
    "-hf",
    "-base",
    "-fp8",
    "-fp8-dynamic",
    "-fp8-kv",
    "-awq",
    "-gptq",
    "-gptq-int4",
    "-int4",
    "-w4a16",
    "-nvfp4",
    "-mxfp4",
    "-bf16",
    "-4bit",
];

/// The comparable form of a device name: lower case, `_` and blanks as `-`, no vendor.
#[must_use]
pub fn device_key(name: &str) -> String {
    let key = plain(name);
    key.strip_prefix("nvidia-").unwrap_or(&key).to_owned()
}

/// The comparable form of a model id: lower case, without organisation, `meta-` and endings such as `-instruct` or `-fp8`.
#[must_use]
pub fn model_key(name: &str) -> String {
    let key = plain(name.rsplit('/').next().unwrap_or(name));
    let mut key = key.strip_prefix("meta-").unwrap_or(&key);
    while let Some(shorter) = MODEL_ENDINGS.iter().find_map(|e| key.strip_suffix(e)) {
        key = shorter;
    }
    key.to_owned()
}

/// The weight format that a model id spells out, such as `...-FP8` or `...-AWQ`.
#[must_use]
pub fn precision_hint(name: &str) -> Option<Precision> {
    let key = plain(name.rsplit('/').next().unwrap_or(name));
    let has = |marks: &[&str]| marks.iter().any(|m| key.contains(m));
    if has(&["-fp8"]) {
        Some(Precision::Fp8)
    } else if has(&[
        "-awq", "-gptq", "-int4", "-w4a16", "-nvfp4", "-mxfp4", "-4bit",
    ]) {
        Some(Precision::Int4)
    } else if has(&["-bf16"]) {
        Some(Precision::Bf16)
    } else {
        None
    }
}

fn plain(name: &str) -> String {
    name.trim()
        .chars()
        .flat_map(char::to_lowercase)
        .map(|c| {
            if c == '_' || c.is_whitespace() {
                '-'
            } else {
                c
            }
        })
        .collect()
}

/// The item of this name: spelled exactly so, else by comparable name, else by comparable alias.
pub(super) fn find<'a, T>(
    items: &'a [T],
    name: &str,
    key: impl Fn(&str) -> String,
    name_of: impl Fn(&T) -> &String,
    aliases_of: impl Fn(&T) -> &Vec<String>,
) -> Option<&'a T> {
    if let Some(exact) = items.iter().find(|i| name_of(i) == name) {
        return Some(exact);
    }
    let wanted = key(name);
    items
        .iter()
        .find(|i| key(name_of(i)) == wanted)
        .or_else(|| {
            items
                .iter()
                .find(|i| aliases_of(i).iter().any(|a| key(a) == wanted))
        })
}

/// The candidate with the least edit distance to `name` under `key`, if it is near enough to be a slip of the pen: at
/// most a third of the longer name, or one letter of a short one.
#[must_use]
pub fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
    key: impl Fn(&str) -> String,
) -> Option<&'a str> {
    let wanted: Vec<char> = key(name).chars().take(100).collect();
    candidates
        .into_iter()
        .map(|candidate| {
            let letters: Vec<char> = key(candidate).chars().collect();
            let longest = wanted.len().max(letters.len());
            (distance(&wanted, &letters), longest, candidate)
        })
        .filter(|(distance, longest, _)| distance < longest && *distance <= (longest / 3).max(1))
        .min_by_key(|(distance, ..)| *distance)
        .map(|(.., candidate)| candidate)
}

/// Edit distance: insertions, deletions, substitutions and swaps of neighbours, each letter edited once (optimal string
/// alignment). O(|a|·|b|).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let substituted = above[j] + usize::from(x != y);
            let mut least = substituted.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_is_textbook() {
        let d = |a: &str, b: &str| {
            distance(
                &a.chars().collect::<Vec<_>>(),
                &b.chars().collect::<Vec<_>>(),
            )
        };
        assert_eq!(d("kitten", "sitting"), 3);
        assert_eq!(d("", "abc"), 3);
        assert_eq!(d("flaw", "lawn"), 2);
        assert_eq!(d("caht", "chat"), 1);
        assert_eq!(d("ca", "abc"), 3);
    }

    #[test]
    fn model_ids_reduce_to_families() {
        for id in [
            "meta-llama/Llama-3.1-8B-Instruct",
            "meta-llama/Meta-Llama-3.1-8B",
            "RedHatAI/Meta-Llama-3.1-8B-Instruct-FP8-dynamic",
            "hugging-quants/Meta-Llama-3.1-8B-Instruct-AWQ-INT4",
        ] {
            assert_eq!(model_key(id), "llama-3.1-8b", "{id}");
        }
        assert_eq!(model_key("google/gemma-3-27b-it"), "gemma-3-27b");
    }

    #[test]
    fn nearest_offers_only_near_names() {
        let known = ["H100", "H200", "A100-80GB", "L40S"];
        assert_eq!(nearest("h10O", known, device_key), Some("H100"));
        assert_eq!(nearest("L40", known, device_key), Some("L40S"));
        assert_eq!(nearest("L5", ["T4", "L4"], device_key), Some("L4"));
        assert_eq!(nearest("x", ["y"], device_key), None);
        assert_eq!(nearest("abacus", known, device_key), None);
    }
}
