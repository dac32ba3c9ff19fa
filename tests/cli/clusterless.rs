//! The verbs of a cluster where there is none.

use crate::Folder;

/// A kubeconfig for a port that nobody listens on.
const NOWHERE: &str = "\
apiVersion: v1
kind: Config
current-context: nowhere
clusters: [{name: nowhere, cluster: {server: 'http://127.0.0.1:1'}}]
users: [{name: nobody, user: {}}]
contexts: [{name: nowhere, context: {cluster: nowhere, user: nobody}}]
";

#[test]
fn without_an_answer_every_verb_exits_with_3() {
    let folder = Folder::empty();
    folder.write("config", NOWHERE);
    for verb in [
        &["status"][..],
        &["top", "--once"],
        &["doctor"],
        &["pause", "llama"],
        &["resume", "--all", "--yes"],
        &["migrate"],
        &["explain", "llama"],
    ] {
        let ran = folder.wva(&[verb, &["--kubeconfig", "config"]].concat());
        assert_eq!(ran.code, Some(3), "{verb:?}: {}", ran.err);
        assert_eq!(ran.out, "");
        assert!(
            ran.err.contains("127.0.0.1:1") && ran.err.contains("help:"),
            "{}",
            ran.err
        );
    }
}

#[test]
fn a_cluster_that_is_not_configured_is_not_reached_either() {
    let folder = Folder::empty();
    let ran = folder.wva(&["status", "--kubeconfig", "none"]);
    assert_eq!(ran.code, Some(3), "{}", ran.err);
    folder.write("config", NOWHERE);
    let ran = folder.wva(&["status", "--kubeconfig", "config", "--context", "other"]);
    assert_eq!(ran.code, Some(3), "{}", ran.err);
    assert!(ran.err.contains("other"), "{}", ran.err);
}

#[test]
fn usage_is_checked_before_anything_is_asked() {
    let folder = Folder::empty();
    folder.wva(&["pause"]).refused(&["VARIANT"]);
    folder.wva(&["pause", "--all", "x"]).refused(&["--all"]);
    folder
        .wva(&["status", "-A", "-n", "x"])
        .refused(&["--all-namespaces"]);
    folder
        .wva(&["status", "a/b/c"])
        .refused(&["NAMESPACE/NAME"]);
    folder.wva(&["top", "--every", "0"]).refused(&["--every 0"]);
    folder
        .wva(&["doctor", "--account", "x"])
        .refused(&["NAMESPACE:SERVICEACCOUNT"]);
}

/// What was recorded is explained without a cluster, and a missing file is a missing file.
#[test]
fn explain_knows_files_from_variants() {
    let folder = Folder::empty();
    folder
        .wva(&["explain", "none.jsonl"])
        .refused(&["there is no file `none.jsonl`"]);
}
