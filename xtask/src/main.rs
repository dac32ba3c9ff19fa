//! The project recipes: `cargo xtask <recipe>`.

fn main() {}
