//! What `wva epp` and `wva gateway` refuse before they serve.

use crate::Folder;

const EPP: &[&str] = &[
    "epp",
    "--grpc-port=0",
    "--grpc-health-port=0",
    "--secure-serving=false",
];
const GATEWAY: &[&str] = &["gateway", "--port=0"];
const BOTH: &[&str] = &["--bind-address=127.0.0.1", "--metrics-port=0"];

#[test]
fn a_named_list_that_is_wrong_is_told_before_serving() {
    let folder = Folder::empty();
    folder.write("empty.yaml", "");
    folder.write("text.yaml", "servers: [a]\n");
    folder.write(
        "name.yaml",
        "endpoints: [{address: llama.local, port: 8000}]\n",
    );
    folder.write("port.yaml", "endpoints:\n- address: 10.0.0.1\n");
    folder.write(
        "twice.yaml",
        "endpoints: [{address: '10.0.0.1:80'}, {address: '10.0.0.1:80'}]\n",
    );
    for (list, told) in [
        ("none.yaml", "none.yaml"),
        ("empty.yaml", "empty.yaml"),
        ("text.yaml", "servers"),
        ("name.yaml", "llama.local"),
        ("port.yaml", "port"),
        ("twice.yaml", "10.0.0.1:80"),
    ] {
        for verb in [EPP, GATEWAY] {
            let ran = folder.wva(&[verb, BOTH, &["--endpoints", list]].concat());
            ran.refused(&[list, told, "help:"]);
            assert!(!ran.err.contains("serving"), "{}", ran.err);
        }
    }
}

#[test]
fn a_controller_that_cannot_be_one_is_told_before_serving() {
    let folder = Folder::empty();
    // That there are none yet is no mistake.
    folder.write("servers.yaml", "endpoints: []\n");
    let list = &["--endpoints", "servers.yaml"];
    for verb in [EPP, GATEWAY] {
        let start = |arguments: &[&str]| folder.wva(&[verb, BOTH, list, arguments].concat());
        let wrong = start(&["--controller-url", "ftp://controller"]);
        wrong.refused(&["--controller-url", "ftp://controller"]);
        let token = [
            "--controller-url",
            "http://controller",
            "--controller-token-file",
            "none",
        ];
        let missing = start(&token);
        missing.refused(&["none"]);
        for ran in [wrong, missing] {
            assert!(!ran.err.contains("serving"), "{}", ran.err);
            assert!(
                ran.err.contains("no endpoints are listed yet"),
                "{}",
                ran.err
            );
        }
    }
    folder.wva(&[EPP, list, &["--check"]].concat()).answered();
}
