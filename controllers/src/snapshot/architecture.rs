//! The architecture behind a model id: the catalogue's, or the best guess that its name allows.
//!
//! A model that nobody described still has to be scaled. Its size is mostly in its name (`acme-13b-chat`), and weights,
//! KV cache and FLOPs follow from the size within the factor by which dense models of one size differ; the online fit
//! takes it from there, with little trust at first. The guess is told, with what to write to replace it.

use wva_models::catalogue::Catalogue;
use wva_models::model::Model;

/// An architecture and, where it is a guess, what was guessed.
pub(super) struct Architecture {
    pub model: Model,
    pub guess: Option<String>,
}

/// Size that is assumed where the name has none, billions of parameters.
const UNNAMED_B: f64 = 8.0;

/// The architecture of what is served as `id`, under the name `name`. `told` is what engines were started with, which says
/// more than an id that nobody knows: people serve models under names of their own.
pub(super) fn of(known: &Catalogue, id: &str, told: &[&str], name: String) -> Option<Architecture> {
    let names = || std::iter::once(id).chain(told.iter().copied());
    if let Some(model) = names().find_map(|n| known.model(n)) {
        return Some(Architecture {
            model: renamed(model.clone(), name),
            guess: None,
        });
    }
    let sized = told.iter().copied().chain([id]);
    let (id, size) = sized
        .map(|n| (n, size_in(n)))
        .find(|(_, size)| size.is_some())
        .unwrap_or((id, None));
    let billions = size.unwrap_or(UNNAMED_B);
    let like = known
        .models
        .iter()
        .filter(|m| m.experts.is_none() && m.kv_elements_per_layer.is_none())
        .min_by(|a, b| {
            let distance = |m: &Model| (m.parameters_b / billions).ln().abs();
            distance(a).total_cmp(&distance(b))
        })?;
    let source = if size.is_some() {
        format!("the {billions}B in its name")
    } else {
        "nothing in its name".to_owned()
    };
    let guess = format!(
        "model {id} is not in the catalogue; it is taken for a {billions}B model built like {}, by {source}; describe it \
         under `models` in the configuration file",
        like.name
    );
    let mut model = renamed(like.clone(), name);
    model.parameters_b = billions;
    Some(Architecture {
        model,
        guess: Some(guess),
    })
}

fn renamed(model: Model, name: String) -> Model {
    Model {
        name,
        aliases: Vec::new(),
        ..model
    }
}

/// The size in a model's name, billions of parameters: the last number before a `b` or `m` that ends a word.
fn size_in(id: &str) -> Option<f64> {
    let id = id.to_ascii_lowercase();
    let words = id.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.'));
    words
        .filter_map(|word| {
            let (digits, unit) = match word.strip_suffix('b') {
                Some(digits) => (digits, 1.0),
                None => (word.strip_suffix('m')?, 1e-3),
            };
            let size = digits.parse::<f64>().ok()? * unit;
            (0.01..=5000.0).contains(&size).then_some(size)
        })
        .next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_from_names() {
        assert_eq!(size_in("acme/Chatty-13B-v2"), Some(13.0));
        assert_eq!(size_in("facebook/opt-125m"), Some(0.125));
        assert_eq!(size_in("x/y-1.5b-instruct"), Some(1.5));
        assert_eq!(size_in("default/default"), None);
        assert_eq!(size_in("bomb"), None);
        assert_eq!(size_in("nanb-infb"), None);
    }

    #[test]
    fn known_models_are_no_guess() {
        let known = Catalogue::builtin();
        let id = "meta-llama/Llama-3.1-8B-Instruct";
        let found = of(&known, id, &[], "ns/x".into()).expect("found");
        assert!(found.guess.is_none());
        assert_eq!(found.model.name, "ns/x");
        let guessed = of(&known, "acme/chatty-13b", &[], "ns/y".into()).expect("found");
        assert_eq!(guessed.model.parameters_b, 13.0);
        assert!(guessed.guess.is_some_and(|g| g.contains("13B")));
    }

    #[test]
    fn what_an_engine_loads_says_more_than_the_name_it_is_served_under() {
        let known = Catalogue::builtin();
        let of = |id: &str, told: &[&str]| of(&known, id, told, "ns/x".into()).expect("found");
        let found = of("assistant", &["meta-llama/Llama-3.1-70B-Instruct"]);
        assert!(found.guess.is_none(), "{:?}", found.guess);
        assert!((60.0..80.0).contains(&found.model.parameters_b));
        // A name that is known was chosen on purpose; a path is read for its size.
        let found = of("meta-llama/Llama-3.1-8B-Instruct", &["/mnt/models/a-70b"]);
        assert!(found.guess.is_none() && found.model.parameters_b < 10.0);
        let guessed = of("assistant-1b", &["/mnt/models/acme-13b"]);
        assert_eq!(guessed.model.parameters_b, 13.0);
        assert!(
            guessed
                .guess
                .is_some_and(|g| g.contains("/mnt/models/acme-13b"))
        );
    }
}
