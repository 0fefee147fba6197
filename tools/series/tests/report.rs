// SPDX-License-Identifier: GPL-2.0
//! `report` shows the last finished run, and says so if there is none.

mod toy;

use std::fs;

use toy::Toy;

#[test]
fn a_run_that_cannot_start_leaves_the_report_of_the_last() {
    let toy = Toy::with_stack();
    let dir = toy.path("cache/series/report");
    let missing = toy.run(&["report"]).err;
    let named = missing.split(&*dir.to_string_lossy()).nth(1).unwrap();
    let name = named.trim_start_matches('/').split(':').next().unwrap();
    fs::write(dir.join(name), "{}").unwrap();
    let lane = "\n[[kernel.lanes]]\nname = \"primary\"\nconfig = [\"base\"]\ndrivers = [\"c\"]\n";
    toy.configure(lane);

    let mut command = toy.command(&["--toolchain", "host", "test"]);
    // No compiler is here.
    let output = command.env("PATH", toy.path("nowhere")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("this machine lacks"), "{said}");
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(dir.join(name).exists());
}

#[test]
fn without_a_run_there_is_nothing_to_report() {
    let toy = Toy::with_stack();
    let ran = toy.run(&["report"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("cargo series test"), "{}", ran.err);

    // What an earlier or later version of the tool left is no report either.
    let dir = toy.path("cache").join("series/report");
    let named = ran.err.split(&*dir.to_string_lossy()).nth(1).unwrap();
    let name = named.trim_start_matches('/').split(':').next().unwrap();
    fs::write(dir.join(name), "{}").unwrap();
    let ran = toy.run(&["report", "--form", "junit"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert_eq!(ran.out, "");

    let kept = r#"{"base":"toy","tree":"5b1b","started":0,"seconds":3,"toolchain":"t","sum":"0 passed, 1 failed",
        "patches":[],"steps":[],"entries":[{"kind":"fail","kernel":"tip+c","test":"a","case":"b","reason":"c","seconds":null}]}"#;
    fs::write(dir.join(name), kept).unwrap();
    let elsewhere = toy.path("elsewhere.json");
    fs::copy(dir.join(name), &elsewhere).unwrap();
    for (form, said) in [
        ("text", "FAIL  tip+c: a: b: c\n"),
        ("md", "- tip+c: a: b: c\n"),
        ("html", "<span class=\"fail\">✗ FAIL</span> tip+c: a: b"),
        ("junit", "<failure message=\"c\">"),
        ("kcidb", "\"path\": \"a.b\""),
    ] {
        let ran = toy.run(&["report", "--form", form]);
        assert_eq!(ran.code, 1, "a run with a failure: {}", ran.err);
        assert!(ran.out.contains(said), "{form}: {}", ran.out);
        let from = ["--from", elsewhere.to_str().unwrap()];
        let again = toy.run(&[&["report", "--form", form][..], &from].concat());
        assert_eq!(again.out, ran.out);
    }
    let not_run = kept.replace(r#""kind":"fail""#, r#""kind":"notrun""#);
    fs::write(&elsewhere, not_run).unwrap();
    let ran = toy.run(&["report", "--from", elsewhere.to_str().unwrap()]);
    assert_eq!(ran.code, 4, "as test ended: {}", ran.err);
    let mine = toy.run(&["report", "--form", "kcidb", "--origin", "my_lab"]);
    assert!(mine.out.contains("\"origin\": \"my_lab\""), "{}", mine.out);
    let wrong = toy.run(&["report", "--form", "kcidb", "--origin", "My lab"]);
    assert_eq!(wrong.code, 2, "{}", wrong.err);
}
