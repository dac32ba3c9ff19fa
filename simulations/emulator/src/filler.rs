//! Answers: deterministic text of four bytes a token, so that it counts, as part of a later prompt, the tokens it had.

/// Bytes of one token, in answers and in prompts.
pub const TOKEN_BYTES: usize = 4;

const TOKENS: [&str; 32] = [
    " the", " sun", " was", " low", " and", " one", " old", " fox", " ran", " for", " the", " far",
    " red", " oak", " but", " saw", " two", " men", " who", " had", " not", " yet", " met", " him",
    " all", " day", " nor", " any", " owl", " now", " you", " too",
];

/// Appends the tokens `from..to` of the answer that belongs to `seed`.
pub fn write(text: &mut String, seed: u64, from: u32, to: u32) {
    let start = seed % TOKENS.len() as u64;
    for i in from..to {
        let place = (start + u64::from(i)) % TOKENS.len() as u64;
        text.push_str(TOKENS[place as usize]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_up_the_whole_and_every_token_has_four_bytes() {
        let (mut whole, mut pieces) = (String::new(), String::new());
        write(&mut whole, 7, 0, 100);
        write(&mut pieces, 7, 0, 33);
        write(&mut pieces, 7, 33, 100);
        assert_eq!(whole, pieces);
        assert_eq!(whole.len(), 100 * TOKEN_BYTES);
        assert!(TOKENS.iter().all(|t| t.len() == TOKEN_BYTES));
    }
}
