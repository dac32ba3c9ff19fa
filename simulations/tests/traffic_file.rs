//! Traffic files: every format, its pitfalls, and arbitrary bytes.

use proptest::prelude::*;
use wva_simulations::workload::trace::Trace;
use wva_simulations::workload::traffic_file::{
    LineProblem, OnBadLine, RateFile, ReadOptions, Recording, TrafficFileError, read,
};

const FAIL: ReadOptions = ReadOptions {
    on_bad_line: OnBadLine::Fail,
    most_requests: 1000,
};
const SKIP: ReadOptions = ReadOptions {
    on_bad_line: OnBadLine::Skip,
    most_requests: 1000,
};

fn requests(text: &str) -> Trace {
    match read(text.as_bytes(), "t.csv", FAIL) {
        Ok(Recording::Requests(trace)) => trace,
        other => panic!("not a request trace: {other:?}"),
    }
}

fn rates(text: &str) -> RateFile {
    match read(text.as_bytes(), "r.csv", FAIL) {
        Ok(Recording::Rates(rates)) => rates,
        other => panic!("not a rate file: {other:?}"),
    }
}

/// (seconds, input, output) of each request.
fn rows(trace: &Trace) -> Vec<(f64, u32, u32)> {
    let row =
        |r: &wva_simulations::workload::trace::Recorded| (r.at as f64 / 1e9, r.input, r.output);
    trace.recorded().iter().map(row).collect()
}

#[test]
fn reads_azure_2023_with_windows_line_ends() {
    let trace = requests(
        "\u{feff}TIMESTAMP,ContextTokens,GeneratedTokens\r\n\
         2023-11-16 18:15:46.6805900,374,44\r\n\
         2023-11-16 18:15:50.9951690,396,109\r\n",
    );
    assert_eq!(rows(&trace), [(0.0, 374, 44), (4.314_579, 396, 109)]);
    assert!(trace.notes().sentences().is_empty());
}

#[test]
fn reads_azure_2024_over_midnight_and_whole_seconds() {
    let trace = requests(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n\
         2024-05-09 23:59:59.500000+00:00,10,1\n\
         2024-05-10 00:00:00+00:00,20,2\n\
         2024-05-10 00:00:00.009930+00:00,30,3",
    );
    assert_eq!(rows(&trace), [(0.0, 10, 1), (0.5, 20, 2), (0.50993, 30, 3)]);
}

#[test]
fn reads_mooncake_with_hashes_and_places_requests_inside_ticks() {
    let mut text = String::new();
    for tick in 0..50u64 {
        for i in 0..6 {
            text += &format!(
                "{{\"timestamp\": {}, \"input_length\": 1000, \"output_length\": 5, \"hash_ids\": [0, {}]}}\n",
                // Every third tick is a millisecond early, as in the real trace.
                tick * 3000 - u64::from(tick % 3 == 2),
                tick * 6 + i,
            );
        }
    }
    let trace = requests(&text);
    let tick = trace.notes().tick_seconds.expect("ticks found");
    assert!((2.99..=3.0).contains(&tick), "{tick}");
    let placed = trace.scaled(1.0, 7);
    assert_eq!(placed.len(), 300);
    // Uniform inside the tick, and in the order of the file.
    let offsets: Vec<f64> = placed
        .iter()
        .map(|p| (p.at - trace.recorded()[p.index as usize].at) as f64 / 1e9)
        .collect();
    let mean = offsets.iter().sum::<f64>() / 300.0;
    assert!((mean - 1.5).abs() < 0.2, "{mean}");
    assert!(offsets.iter().all(|&o| o < 3.0));
    assert!(
        placed
            .iter()
            .enumerate()
            .all(|(i, p)| p.index as usize == i)
    );
    assert_eq!(placed, trace.scaled(1.0, 7));
    assert_ne!(placed, trace.scaled(1.0, 8));
    assert_eq!(trace.recorded()[1].hash_ids.as_deref(), Some(&[0, 1][..]));
}

#[test]
fn leaves_evenly_spaced_requests_where_they_are() {
    let text: String = (0..100).map(|i| format!("{i},10,10\n")).collect();
    let trace = requests(&format!("t_s,input_tokens,output_tokens\n{text}"));
    assert_eq!(trace.notes().tick_seconds, None);
    assert_eq!(trace.scaled(1.0, 1)[99].at, 99_000_000_000);
}

#[test]
fn reads_burstgpt_in_whole_seconds_with_failed_requests() {
    let trace = requests(
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n\
         5,ChatGPT,472,18,490,Conversation log\n\
         5,ChatGPT,1087,230,1317,\"Conversation, log\"\n\
         118,GPT-4,417,0,417,API log\n",
    );
    assert_eq!(
        rows(&trace),
        [(0.0, 472, 18), (0.0, 1087, 230), (113.0, 417, 1)]
    );
    assert_eq!(trace.notes().zero_outputs, 1);
    assert_eq!(trace.notes().sentences().len(), 2, "ticks and zero outputs");
}

#[test]
fn reads_json_variants_and_dates() {
    let seconds = requests(
        "{\"arrival_time\": 1.5, \"prompt_tokens\": 7, \"completion_tokens\": 3, \"user\": {\"x\": [1]}}\n\
         {\"arrival_time\": 3, \"prompt_tokens\": \"8\", \"completion_tokens\": 4.0}\n",
    );
    assert_eq!(rows(&seconds), [(0.0, 7, 3), (1.5, 8, 4)]);
    let dates = requests(
        "{\"timestamp\": \"2024-05-10T00:00:01Z\", \"isl\": 7, \"osl\": 3}\n\
         {\"timestamp\": \"2024-05-10T00:00:02.25Z\", \"isl\": 7, \"osl\": 3}\n",
    );
    assert_eq!(rows(&dates), [(0.0, 7, 3), (1.25, 7, 3)]);
}

#[test]
fn sorts_small_disorder_and_says_so() {
    let trace = requests("t_s,input_tokens,output_tokens\n10,1,1\n5,2,2\n11,3,3\n");
    assert_eq!(rows(&trace), [(0.0, 2, 2), (5.0, 1, 1), (6.0, 3, 3)]);
    assert_eq!(trace.notes().out_of_order, 1);
}

#[test]
fn names_file_line_value_and_remedy() {
    let error = read(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,10,5\n2023-11-16 18:15:47,NaN,5\n"
            .as_bytes(),
        "chat.csv",
        FAIL,
    )
    .expect_err("NaN tokens");
    let text = error.to_string();
    assert!(
        text.starts_with("chat.csv:3: input tokens is `NaN`"),
        "{text}"
    );
    assert!(text.contains("--on-bad-line skip"), "{text}");
}

#[test]
fn skips_counts_and_shows_the_first_bad_lines() {
    let text =
        "t_s,input_tokens,output_tokens\n0,1,1\n1,-4,1\n2,5\n3,99999999,1\n4,1.5,1\n,1,1\n5,6,7\n";
    let Ok(Recording::Requests(trace)) = read(text.as_bytes(), "t", SKIP) else {
        panic!("bad lines are to be skipped");
    };
    assert_eq!(rows(&trace), [(0.0, 1, 1), (5.0, 6, 7)]);
    assert_eq!(trace.notes().skipped, 5);
    assert_eq!(trace.notes().first_skipped.len(), 3);
    assert_eq!(
        trace.notes().first_skipped[1].problem,
        LineProblem::Missing {
            field: "output tokens"
        }
    );
}

#[test]
fn refuses_jumps_in_time() {
    for (second, direction) in [("200000", "ahead of"), ("-7200", "behind")] {
        let text = format!("t_s,input_tokens,output_tokens\n0,1,1\n{second},1,1\n");
        let error = read(text.as_bytes(), "t", FAIL).expect_err("a jump");
        assert!(error.to_string().contains(direction), "{error}");
    }
}

#[test]
fn says_when_there_is_nothing() {
    for text in [
        "",
        "\n \r\n",
        "t_s,input_tokens,output_tokens\n",
        "t_s,rate_rps\n",
        "t_s,rate_rps\n0,0\n",
    ] {
        let error = read(text.as_bytes(), "t", FAIL).expect_err("nothing");
        assert!(matches!(error, TrafficFileError::Empty { .. }), "{error}");
    }
    let error = read("t_s,isl,osl\nx,y,z\n".as_bytes(), "t", SKIP).expect_err("all bad");
    assert_eq!(
        error.to_string(),
        "t: no traffic in it (1 bad lines skipped); expected a request a line below a CSV header, a JSON object a line, or rates of \
         which some are above 0"
    );
}

#[test]
fn says_what_formats_there_are() {
    for text in [
        "0,1,2\n",
        "hello\n",
        "\u{1}\u{2},\n",
        "[1, 2]\n",
        "t_s,input_tokens\n",
    ] {
        let error = read(text.as_bytes(), "t", SKIP).expect_err("unknown");
        assert!(
            error.to_string().contains("TIMESTAMP,ContextTokens"),
            "{error}"
        );
    }
    let not_text = read(&b"\xff\xfe\n"[..], "t", FAIL).expect_err("binary");
    assert!(matches!(
        not_text,
        TrafficFileError::UnknownFormat { line: 1, .. }
    ));
}

#[test]
fn stops_at_too_many_requests() {
    let text: String = (0..1001).map(|i| format!("{i},1,1\n")).collect();
    let error = read(format!("t_s,isl,osl\n{text}").as_bytes(), "t", FAIL).expect_err("too many");
    assert_eq!(
        error,
        TrafficFileError::TooMany {
            origin: "t".to_owned(),
            most: 1000
        }
    );
}

#[test]
fn reads_rates_as_means_of_their_intervals() {
    let file = rates("t_s,rate_rps,client_cv\n0,2,1.5\n600,4,\n1200,0,847.2\n");
    assert_eq!(file.length, 1800.0);
    assert_eq!(file.curve.rate(599.0), 2.0);
    assert_eq!(file.curve.expected(1800.0), 3600.0);
    assert_eq!(file.curve.expected(9000.0), 3600.0);
    assert_eq!(
        [0.0, 700.0, 1300.0].map(|t| file.curve.cv(t)),
        [1.5, 1.0, 4.0]
    );
    for bad in ["0,1\n0,2", "0,-1", "0,NaN", "0", "0,1,x", "5,1\n4,1"] {
        let text = format!("t_s,rate_rps,cv\n{bad}\n");
        let error = read(text.as_bytes(), "r", FAIL).expect_err(bad);
        assert!(matches!(error, TrafficFileError::Line { .. }), "{error}");
    }
}

/// A reader that breaks after its text.
struct Breaks<'a>(&'a [u8]);

impl std::io::Read for Breaks<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(std::io::Error::other("the disk is gone")),
            n => Ok(n),
        }
    }
}

#[test]
fn reports_a_failing_disk() {
    let input = std::io::BufReader::new(Breaks(b"t_s,isl,osl\n0,1,1\n"));
    let error = read(input, "t", SKIP).expect_err("broken");
    assert_eq!(error.to_string(), "t: cannot be read: the disk is gone");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes[..], "t", SKIP);
    }

    #[test]
    fn arbitrary_cells_never_panic(
        header in prop::sample::select(vec![
            "t_s,input_tokens,output_tokens", "TIMESTAMP;ContextTokens;GeneratedTokens",
            "t_s,rate_rps,client_cv", "timestamp_ms\tisl\tosl",
        ]),
        lines in prop::collection::vec("[-0-9.eE+:, ;\tTZNaif\"{}\u{e4}]{0,40}", 0..12),
    ) {
        let text = format!("{header}\n{}", lines.join("\n"));
        if let Ok(Recording::Requests(trace)) = read(text.as_bytes(), "t", SKIP) {
            for factor in [0.3, 1.0, 2.5] {
                let placed = trace.scaled(factor, 1);
                prop_assert!(placed.is_sorted_by_key(|p| p.at));
            }
        }
    }

    #[test]
    fn arbitrary_json_never_panics(
        time in "[-0-9.eE]{1,12}|\"[-0-9: TZ.]{0,30}\"|null|\\[\\]",
        input in "[-0-9.eE]{1,12}|null|\\{\\}",
        hashes in "\\[[-0-9, ]{0,12}\\]|3",
    ) {
        let line = format!("{{\"timestamp\": {time}, \"input_length\": {input}, \"output_length\": 1, \"hash_ids\": {hashes}}}");
        let _ = read(line.as_bytes(), "t", SKIP);
    }
}
