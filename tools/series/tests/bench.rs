// SPDX-License-Identifier: GPL-2.0
//! `bench` says what is wrong before it builds anything.

mod toy;

use toy::Toy;

#[test]
fn what_bench_does_not_know_is_a_usage_error() {
    let toy = Toy::with_stack();
    for (arguments, word) in [
        (["--buffer", "no-such"], "--buffer shmem,"),
        (["--kernel", "no-such"], "--kernel base+c,"),
        (["--sizes", "100"], "powers of two"),
        (["--sizes", "some"], "--sizes"),
    ] {
        let ran = toy.run(&["bench", arguments[0], arguments[1]]);
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(word), "{arguments:?}: {}", ran.err);
    }
}

#[test]
fn a_gate_without_recorded_counts_says_how_to_record_them() {
    let toy = Toy::with_stack();
    let ran = toy.run(&["bench", "--check"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(
        ran.err.contains("cargo series bench --update"),
        "{}",
        ran.err
    );
}

/// Counts as a guest's lines become: creation at 265 and 106 instructions a page.
const COUNTS: &str = r#"{ "counts": {
    "base+c shmem 64 create": 4346760, "base+c shmem 256 create": 17372040,
    "tip+rust shmem 64 create": 1741704, "tip+rust shmem 256 create": 6951816
} }"#;

#[test]
fn what_was_counted_before_is_shown_in_any_form() {
    let toy = Toy::with_stack();
    let counts = toy.path("counts.json");
    std::fs::write(&counts, COUNTS).unwrap();
    let from = counts.to_str().unwrap();
    let show = |form: &str| {
        let ran = toy.run(&["bench", "--from", from, "--form", form]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        ran.out
    };
    let text = show("text");
    assert!(text.starts_with("shmem 64..256 MiB"), "{text}");
    assert!(
        text.contains("120 met") && !text.contains("tip+c"),
        "{text}"
    );
    let md = show("md");
    let row = "| create /page | 265.0 | 106.0 | 0.40 | 12 | 8.8 | 120 met |";
    assert!(md.contains(row), "{md}");
    let mail = show("mail");
    assert!(mail.lines().all(|line| line.len() <= 72), "{mail}");
}

#[test]
fn pictures_and_figures_are_written_where_they_are_wanted() {
    let toy = Toy::with_stack();
    let counts = toy.path("counts.json");
    std::fs::write(&counts, COUNTS).unwrap();
    let out = toy.path("out");
    let arguments = [
        "--from",
        counts.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
    ];
    let ran = toy.run(&[&["bench"][..], &arguments].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    for name in ["bars", "growth"] {
        let svg = std::fs::read_to_string(out.join(name).with_extension("svg")).unwrap();
        assert!(
            svg.starts_with("<!-- SPDX") && svg.contains("create"),
            "{svg}"
        );
        let png = std::fs::read(out.join(name).with_extension("png")).unwrap();
        assert!(png.starts_with(b"\x89PNG") && png.len() > 1000);
    }
    let json = std::fs::read_to_string(out.join("bench.json")).unwrap();
    assert!(json.contains("\"distance\": 8.8"), "{json}");
    // What was written can be shown again.
    let again = toy.run(&["bench", "--from", out.join("bench.json").to_str().unwrap()]);
    assert_eq!(again.code, 0, "{}", again.err);
    assert!(ran.out.starts_with(&again.out), "{}", again.out);
}

#[test]
fn the_gate_compares_with_what_is_recorded() {
    let toy = Toy::with_stack();
    let counts = toy.path("counts.json");
    std::fs::write(&counts, COUNTS).unwrap();
    let recorded = toy.repo().join("tools/series/bench");
    std::fs::create_dir_all(&recorded).unwrap();
    let judge = |baseline: &str| {
        std::fs::write(recorded.join("baseline.json"), baseline).unwrap();
        toy.run(&["bench", "--check", "--from", counts.to_str().unwrap()])
    };
    let same = judge(COUNTS);
    assert_eq!(same.code, 0, "{}{}", same.out, same.err);
    // 1741704 is 4 % more than this.
    let worse = judge(&COUNTS.replace("1741704", "1675000"));
    assert_eq!(worse.code, 1, "{}", worse.out);
    assert!(
        worse.out.contains("FAIL  tip+rust shmem 64 create"),
        "{}",
        worse.out
    );
    assert!(
        worse.out.contains("--update --sizes 64,256, and say why"),
        "{}",
        worse.out
    );
    // What the file does not hold was not counted.
    let without = COUNTS.replace("\"tip+rust", "\"tip+c");
    std::fs::write(&counts, &without).unwrap();
    let missing = judge(COUNTS);
    assert_eq!(missing.code, 1, "{}", missing.out);
    let line = "FAIL  tip+rust shmem 64 create: recorded, and not counted";
    assert!(missing.out.contains(line), "{}", missing.out);
    std::fs::write(&counts, "{ \"counts\": {} }").unwrap();
    let nothing = judge(COUNTS);
    assert_eq!(nothing.code, 4, "{}", nothing.out);
    assert!(nothing.out.contains("NOT RUN: nothing"), "{}", nothing.out);
}

#[test]
fn a_file_that_was_named_is_not_to_be_recorded_anew() {
    let toy = Toy::with_stack();
    let counts = toy.path("counts.json");
    let show = || toy.run(&["bench", "--from", counts.to_str().unwrap()]);
    for cause in ["No such file", "holds no counts"] {
        let ran = show();
        assert_eq!(ran.code, 2, "{}", ran.err);
        assert!(ran.err.contains(cause), "{}", ran.err);
        assert!(!ran.err.contains("--update"), "{}", ran.err);
        std::fs::write(&counts, "{").unwrap();
    }
}

#[test]
fn what_cannot_go_together_is_refused() {
    let toy = Toy::with_stack();
    for arguments in [
        &["--wall", "--check"][..],
        &["--latency", "--update"],
        &["--from", "x", "--update"],
        &["--wall", "--latency"],
    ] {
        let ran = toy.run(&[&["bench"], arguments].concat());
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.err);
    }
}
