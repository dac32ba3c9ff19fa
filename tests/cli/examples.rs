//! What ships as an example works as it stands.

use crate::Folder;

fn example(name: &str) -> String {
    format!("{}/examples/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_example_is_sound() {
    let folder = Folder::empty();
    let all = std::fs::read_dir(example("")).expect("examples");
    let names: Vec<String> = all
        .map(|e| {
            e.expect("an entry")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .collect();
    assert!(names.len() >= 4, "{names:?}");
    for name in names {
        let path = example(&name);
        assert!(
            folder
                .wva(&["catalogue", "check", &path])
                .answered()
                .contains("sound"),
            "{name}"
        );
    }
}

#[test]
fn the_plan_is_feasible() {
    let ran = Folder::empty().wva(&["plan", &example("plan.yaml"), "-o", "json"]);
    assert_eq!(ran.json("wva.plan/v1")["status"], "feasible");
}

#[test]
fn a_scenario_answers_questions_about_its_variants() {
    let folder = Folder::empty();
    let chat = example("chat.yaml");
    let json = folder
        .wva(&[
            "predict",
            &chat,
            "--variant",
            "h100",
            "--rate",
            "3",
            "--class",
            "chat",
            "-o",
            "json",
        ])
        .json("wva.predict/v1");
    assert!(
        (json["input_tokens_mean"].as_f64().expect("a number") - 1155.0).abs() < 30.0,
        "the scenario's sizes"
    );
    assert!(json["capacity_rps"].as_f64() > Some(1.0));
}

#[test]
fn the_chat_scenario_runs() {
    let ran = Folder::empty().wva(&[
        "simulate",
        &example("chat.yaml"),
        "--policy",
        "wva,hpa-queue",
        "-o",
        "json",
    ]);
    for policy in ran.json("wva.simulate/v1")["policies"]
        .as_array()
        .expect("an array")
    {
        assert!(policy["attainment"].as_f64() > Some(0.95), "{policy}");
    }
}
