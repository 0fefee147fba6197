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
