//! Scores from what endpoints have or are: adapters, sessions, labels, recent cold prompts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::endpoint::{Lora, Slot};
use crate::round::Round;

/// Affinity to the request's adapter; 0 where nothing is known of adapters.
pub(super) fn lora(round: &Round<'_>, of: &[Slot], out: &mut Vec<f64>) {
    let adapter = Lora::key(round.request.model);
    let loras = &round.pool.load.lora;
    out.extend(of.iter().map(|s| {
        let lora = loras.get(s.index()).and_then(Option::as_ref);
        lora.map_or(0.0, |l| l.affinity(adapter))
    }));
}

/// The places of the pod that a session's token names: base64 of `namespace/name`.
pub(crate) fn session_pod<'p>(round: &Round<'p>, header: &str) -> &'p [Slot] {
    let named = || {
        let token = round.request.header(header)?;
        let name = String::from_utf8(STANDARD.decode(token.trim()).ok()?).ok()?;
        round.pool.members.by_pod.get(&name)
    };
    named().map_or(&[], Vec::as_slice)
}

/// The token of a session that goes on at this pod.
pub(crate) fn session_token(full_name: &str) -> String {
    STANDARD.encode(full_name)
}

pub(super) fn session(round: &Round<'_>, of: &[Slot], header: &str, out: &mut Vec<f64>) {
    let pod = session_pod(round, header);
    out.extend(of.iter().map(|s| f64::from(u8::from(pod.contains(s)))));
}

pub(super) fn header_label(
    round: &Round<'_>,
    of: &[Slot],
    header: &str,
    label: &str,
    out: &mut Vec<f64>,
) {
    let asked = round.request.header(header).filter(|v| !v.is_empty());
    out.extend(of.iter().map(|&s| {
        let endpoint = round.pool.endpoint(s);
        let has = endpoint
            .and_then(|e| e.labels.get(label))
            .map(String::as_str);
        f64::from(u8::from(asked.is_some() && has == asked))
    }));
}

/// 1 − rank / (n − 1) by the last prompt that nobody held, never before ever; 0.5 for all if somebody holds this one.
pub(super) fn least_recently_cold(
    round: &Round<'_>,
    of: &[Slot],
    order: &mut Vec<(u64, u32)>,
    out: &mut Vec<f64>,
) {
    if of.iter().any(|&s| round.matched_blocks(s) > 0) {
        out.resize(of.len(), 0.5);
        return;
    }
    order.clear();
    order.extend(of.iter().zip(0..).map(|(&s, i)| (round.cold.last(s), i)));
    order.sort_unstable();
    out.resize(of.len(), 1.0);
    let last = (of.len().max(2) - 1) as f64;
    for (rank, &(_, i)) in order.iter().enumerate() {
        out[i as usize] = 1.0 - rank as f64 / last;
    }
}

/// The range `min-max` in an endpoint's label.
fn range(round: &Round<'_>, slot: Slot, label: &str) -> Option<(f64, f64)> {
    let text = round.pool.endpoint(slot)?.labels.get(label)?;
    let (min, max) = text.split_once('-')?;
    let (min, max): (u32, u32) = (min.trim().parse().ok()?, max.trim().parse().ok()?);
    (min <= max).then_some((f64::from(min), f64::from(max)))
}

/// Whether the endpoint takes so many tokens: yes without a range.
pub(crate) fn in_range(round: &Round<'_>, slot: Slot, label: &str, tokens: f64) -> bool {
    range(round, slot, label).is_none_or(|(min, max)| (min..=max).contains(&tokens))
}

/// More than 0.3 within the range, the more the narrower it is; less than 0.3 outside, the less the farther; 0.5 without
/// a range.
pub(super) fn range_score(round: &Round<'_>, slot: Slot, label: &str, tokens: f64) -> f64 {
    match range(round, slot, label) {
        None => 0.5,
        Some((min, max)) if (min..=max).contains(&tokens) => {
            0.3 + 0.7 * (1.0 + tokens) / (1.0 + tokens + (max - min))
        }
        Some((min, max)) => {
            let distance = (min - tokens).max(tokens - max);
            0.3 * (1.0 + tokens) / (1.0 + tokens + distance) * 0.999
        }
    }
}
