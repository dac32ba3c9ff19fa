use crate::Folder;

#[test]
fn a_script_for_every_shell() {
    let folder = Folder::empty();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ran = folder.wva(&["completions", shell]);
        let script = ran.answered();
        assert!(
            script.contains("completions") && script.contains("format"),
            "{shell}"
        );
    }
    folder
        .wva(&["completions", "tcsh"])
        .refused(&["tcsh", "possible values", "bash"]);
}
