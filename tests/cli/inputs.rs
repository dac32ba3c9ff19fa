//! Files that are not what they should be, for every verb that reads one.

use crate::{FLEET, Folder};

/// Arguments around the file's name of every verb that reads a file first.
const VERBS: [(&[&str], &[&str]); 6] = [
    (&["catalogue", "check"], &[]),
    (&["catalogue", "list"], &[]),
    (&["plan"], &[]),
    (&["simulate"], &[]),
    (&["explain"], &[]),
    (
        &["predict"],
        &[
            "--variant",
            "v",
            "--rate",
            "1",
            "--input",
            "10",
            "--output",
            "10",
        ],
    ),
];

fn each(file: &str, folder: &Folder, parts: &[&str]) {
    for (before, after) in VERBS {
        let arguments: Vec<&str> = before.iter().chain([&file]).chain(after).copied().collect();
        folder.wva(&arguments).refused(parts);
    }
}

#[test]
fn a_missing_file() {
    let folder = Folder::empty();
    each(
        "missing.yaml",
        &folder,
        &["there is no file `missing.yaml`"],
    );
    folder.write("fleet.yaml", FLEET);
    each("flet.yaml", &folder, &["did you mean `fleet.yaml`?"]);
}

#[test]
fn a_folder_instead_of_a_file() {
    let folder = Folder::empty();
    std::fs::create_dir(folder.path("some")).expect("a folder");
    each("some", &folder, &["`some` is a folder"]);
}

#[test]
fn a_file_with_nothing_in_it() {
    let folder = Folder::empty();
    for (name, text) in [("empty", ""), ("comments", "---\n\n  # to be written\n")] {
        folder.write(name, text);
        folder
            .wva(&["plan", name])
            .refused(&[name, "nothing in it", "`examples/`"]);
    }
}

#[test]
fn binary_garbage() {
    let folder = Folder::empty();
    folder.write("utf8", "models: \0\0\u{1}\n");
    each("utf8", &folder, &["`utf8` is not text", "zero bytes"]);
    std::fs::write(
        folder.path("elf"),
        [
            b"\x7fELF\n".as_slice(),
            &[0xff, 0xfe, 0x80, b'\n', 0xc3, 0x28],
        ]
        .concat(),
    )
    .expect("a file");
    each("elf", &folder, &["`elf` is not text", "line 2"]);
}

#[test]
fn an_empty_file_is_an_empty_catalogue_without_the_variant() {
    let folder = Folder::empty();
    folder.write("empty.yaml", "");
    let (before, after) = VERBS[5];
    let arguments: Vec<&str> = before
        .iter()
        .chain([&"empty.yaml"])
        .chain(after)
        .copied()
        .collect();
    folder.wva(&arguments).refused(&["unknown variant `v`"]);
}
