// SPDX-License-Identifier: GPL-2.0
//! Lanes that cannot be what is asked for: said before anything is set up or built.

mod toy;

use toy::Toy;

const LANES: &str = r#"
[[kernel.lanes]]
name = "primary"
config = ["base"]
drivers = ["c"]

[[kernel.lanes]]
name = "figures"
config = ["base"]

[[kernel.lanes]]
name = "arm"
arch = "arm"
config = ["base"]
drivers = ["c"]

[[kernel.lanes]]
name = "nommu"
arch = "riscv"
config = ["base"]
drivers = ["c"]
objects_only = true
"#;

fn toy(lanes: &str) -> Toy {
    let toy = Toy::new();
    toy.configure(lanes);
    toy
}

#[test]
fn what_a_lane_is_not_for_is_refused_with_a_way_out() {
    let toy = toy(LANES);
    for (arguments, cause, mend) in [
        (
            &["test", "--lane", "none"][..],
            "no such lane",
            "primary, figures, arm",
        ),
        (
            &["image", "--lane", "none"],
            "no such lane",
            "primary, figures, arm",
        ),
        (
            &["test", "--lane", "figures"],
            "for figures",
            "cargo series bench",
        ),
        (
            &["boot", "--lane", "arm"],
            "not booted",
            "cargo series test --lane arm",
        ),
        (
            &["boot", "--lane", "nommu"],
            "not booted",
            "cargo series test --lane nommu",
        ),
        (
            &["image", "--lane", "nommu"],
            "links no kernel",
            "cargo series test --lane nommu",
        ),
        (
            &["image", "--driver", "rust"],
            "this driver",
            "leave out --driver",
        ),
        (
            &["image", "--base", "--driver", "rust"],
            "the base has the C driver only",
            "leave out --driver",
        ),
    ] {
        let ran = toy.run(arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.err);
        assert!(
            ran.err.contains(cause) && ran.err.contains(mend),
            "{}",
            ran.err
        );
    }
    assert!(!toy.path("cache/series/toolchain").exists());
}

#[test]
fn a_lane_that_is_written_wrong_is_named_with_its_file() {
    let toy = toy(&LANES.replace(
        "\"riscv\"\nconfig = [\"base\"]",
        "\"riscv\"\nconfig = [\"bas\"]",
    ));
    let ran = toy.run(&["doctor"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    for part in [
        "series.toml",
        "kernel.lanes \"nommu\"",
        "\"bas\" is none of base",
    ] {
        assert!(ran.err.contains(part), "{part}: {}", ran.err);
    }
}

#[test]
fn without_lanes_the_one_that_is_wanted_is_to_be_added() {
    let ran = Toy::new().run(&["image"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("add a [[kernel.lanes]]"), "{}", ran.err);
}
