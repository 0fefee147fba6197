// SPDX-License-Identifier: GPL-2.0
//! What KernelCI's common database takes: checkouts, builds and tests, in its I/O schema 5.
//!
//! What is of no kernel, such as the checks of the patches' form, has no place in it. The types here are the schema's: a
//! field that it does not know cannot be written.

use std::collections::BTreeMap;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{BUILD, Entry, Kind, Report};
use crate::context::hex;
use crate::kernel::lane::PRIMARY;

/// What the schema allows for an excerpt of a log.
const EXCERPT: usize = 16_384;

#[derive(Serialize)]
struct Submission {
    version: Version,
    checkouts: Vec<Checkout>,
    builds: Vec<Build>,
    tests: Vec<Test>,
}

#[derive(Serialize)]
struct Version {
    major: u32,
    minor: u32,
}

#[derive(Serialize)]
struct Checkout {
    id: String,
    origin: String,
    comment: String,
    /// Empty for the base.
    patchset_hash: String,
    start_time: String,
    valid: bool,
    misc: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
struct Build {
    id: String,
    checkout_id: String,
    origin: String,
    comment: String,
    architecture: String,
    config_name: String,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<f64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    log_excerpt: String,
    misc: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
struct Test {
    id: String,
    build_id: String,
    origin: String,
    path: String,
    comment: String,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<f64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    log_excerpt: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<Environment>,
}

#[derive(Serialize)]
struct Environment {
    comment: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum Status {
    Pass,
    Fail,
    Skip,
    Miss,
}

impl From<Kind> for Status {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Pass => Status::Pass,
            Kind::Fail => Status::Fail,
            Kind::Skip => Status::Skip,
            Kind::NotRun => Status::Miss,
        }
    }
}

pub fn render(report: &Report, origin: &str) -> String {
    let text = serde_json::to_string_pretty(&submission(report, origin)).expect("plain data");
    text + "\n"
}

fn submission(report: &Report, origin: &str) -> Submission {
    let mut submission = Submission {
        version: Version { major: 5, minor: 0 },
        checkouts: Vec::new(),
        builds: Vec::new(),
        tests: Vec::new(),
    };
    for (i, entry) in report.entries.iter().enumerate() {
        if entry.kernel.is_empty() {
            continue;
        }
        let (kernel, guest) = split(&entry.kernel);
        let checkout = checkout(report, origin, entry);
        let build_id = format!("{}-{}", checkout.id, kernel.replace(' ', "-"));
        if !submission.builds.iter().any(|known| known.id == build_id) {
            let build = build(report, origin, kernel, &build_id, &checkout.id);
            submission.builds.push(build);
        }
        if !submission
            .checkouts
            .iter()
            .any(|known| known.id == checkout.id)
        {
            submission.checkouts.push(checkout);
        }
        if entry.test != BUILD {
            submission.tests.push(Test {
                id: format!("{build_id}-{i}"),
                build_id,
                origin: origin.to_owned(),
                path: path(entry),
                comment: entry.name(),
                status: entry.kind.into(),
                duration: entry.seconds,
                log_excerpt: excerpt(&entry.reason),
                environment: guest.map(|guest| Environment {
                    comment: format!("guest {guest}"),
                }),
            });
        }
    }
    submission
}

/// "tip+rust movable" is the kernel "tip+rust" in the guest "movable".
fn split(kernel: &str) -> (&str, Option<&str>) {
    let plus = kernel.find('+').unwrap_or(0);
    match kernel[plus..].split_once(' ') {
        Some((driver, guest)) => (&kernel[..plus + driver.len()], Some(guest)),
        None => (kernel, None),
    }
}

/// The sources of an entry's kernel: the base with so many patches.
fn checkout(report: &Report, origin: &str, entry: &Entry) -> Checkout {
    let count = match entry.patch() {
        Some((n, _)) => n,
        None if report.lane(&entry.kernel).1.starts_with("base") => 0,
        None => report.patches.len(),
    };
    let applied = &report.patches[..count.min(report.patches.len())];
    let sums: String = applied.iter().map(|p| format!("{}\n", p.sha256)).collect();
    let patchset = match count {
        0 => String::new(),
        _ => hex(&Sha256::digest(sums)),
    };
    let what = match count {
        0 => format!("Linux {}", report.base),
        n => format!("Linux {} with {n} patches", report.base),
    };
    let key = if patchset.is_empty() {
        &report.base
    } else {
        &patchset[..12]
    };
    Checkout {
        id: format!("{origin}:{}-{key}", report.started),
        origin: origin.to_owned(),
        comment: what,
        patchset_hash: patchset.clone(),
        start_time: format!("{}+00:00", report.date().replace(' ', "T")),
        valid: true,
        misc: [("tip_tree", report.tree.clone())].into(),
    }
}

fn build(report: &Report, origin: &str, kernel: &str, id: &str, checkout_id: &str) -> Build {
    let (lane, sources) = report.lane(kernel);
    let lane_name = match lane {
        Some(_) => kernel.split(' ').next().unwrap_or(kernel),
        None => PRIMARY,
    };
    let driver = sources.rsplit('+').next().unwrap_or(sources);
    let toolchain = lane.map_or(&report.toolchain, |lane| &lane.toolchain);
    let of_it = |entry: &&Entry| split(&entry.kernel).0 == kernel;
    let mut entries = report.entries.iter().filter(of_it);
    let built = entries.clone().find(|entry| entry.test == BUILD);
    let status = match built {
        Some(entry) => entry.kind.into(),
        // What ran was built.
        None if entries.any(|entry| entry.kind != Kind::NotRun) => Status::Pass,
        None => Status::Miss,
    };
    Build {
        id: id.to_owned(),
        checkout_id: checkout_id.to_owned(),
        origin: origin.to_owned(),
        comment: kernel.to_owned(),
        architecture: lane.map_or("x86_64".to_owned(), |lane| lane.arch.clone()),
        config_name: format!("{lane_name}-{driver}"),
        status,
        duration: built.and_then(|entry| entry.seconds),
        log_excerpt: built.map_or(String::new(), |entry| excerpt(&entry.reason)),
        misc: [("toolchain", toolchain.clone())].into(),
    }
}

/// Words of letters, digits, _ and -, with a dot between them.
fn path(entry: &Entry) -> String {
    let plain = |c: char| match c {
        c if c.is_ascii_alphanumeric() || c == '-' => c,
        _ => '_',
    };
    let words = entry.test.split('.').chain(entry.case.split('.'));
    let words: Vec<String> = words
        .filter(|word| !word.is_empty())
        .map(|word| word.chars().map(plain).collect())
        .collect();
    words.join(".")
}

fn excerpt(text: &str) -> String {
    text.chars().filter(|c| *c != '\0').take(EXCERPT).collect()
}

#[cfg(test)]
mod tests {
    use super::super::LaneTools;
    use super::super::tests::sample;
    use super::*;

    #[test]
    fn every_kernel_is_a_build_of_a_checkout() {
        let all = submission(&sample(), "me");
        let builds: Vec<(&str, Status)> = all
            .builds
            .iter()
            .map(|build| (build.comment.as_str(), build.status))
            .collect();
        assert_eq!(
            builds,
            [
                ("patch 1+rust", Status::Pass),
                ("patch 2+rust", Status::Fail),
                ("tip+c", Status::Pass),
                ("tip+rust", Status::Miss)
            ]
        );
        // The last patch leads to the tip.
        assert_eq!(all.checkouts.len(), 2);
        let known = |id: &String| all.checkouts.iter().any(|checkout| checkout.id == *id);
        assert!(all.builds.iter().all(|build| known(&build.checkout_id)));
        let known = |id: &String| all.builds.iter().any(|build| build.id == *id);
        assert!(all.tests.iter().all(|test| known(&test.build_id)));
        assert_eq!(all.tests.len(), 4);
    }

    #[test]
    fn a_patchset_is_hashed_as_kernelci_does() {
        // printf '%064d\n%064d\n' 0 0 | tr 0 a | sha256sum
        let entry = Entry::pass("tip+c", "a", "");
        assert_eq!(
            checkout(&sample(), "me", &entry).patchset_hash,
            "9702fbc11dd4f217afc57df2216a68e36b296281b7dde45f26caff6c8ff3255e"
        );
        let entry = Entry::pass("base+c", "a", "");
        assert_eq!(checkout(&sample(), "me", &entry).patchset_hash, "");
    }

    #[test]
    fn kernels_of_lanes_have_their_own_architecture_and_tools() {
        let mut report = sample();
        let tools = LaneTools {
            arch: "arm".to_owned(),
            toolchain: "forky-1".to_owned(),
        };
        report.lanes = [("thumb".to_owned(), tools)].into();
        report.entries = ["thumb base+c", "thumb tip+c", "tip+c"]
            .map(|kernel| Entry::pass(kernel, BUILD, ""))
            .into();
        let all = submission(&report, "me");
        let of_build =
            |build: &Build| (build.architecture.clone(), build.misc["toolchain"].clone());
        let builds: Vec<(String, String)> = all.builds.iter().map(of_build).collect();
        let said = |arch: &str, tools: &str| (arch.to_owned(), tools.to_owned());
        assert_eq!(
            builds,
            [
                said("arm", "forky-1"),
                said("arm", "forky-1"),
                said("x86_64", "trixie-0123")
            ]
        );
        let configs: Vec<&str> = all.builds.iter().map(|b| b.config_name.as_str()).collect();
        assert_eq!(configs, ["thumb-c", "thumb-c", "primary-c"]);
        assert_eq!(
            all.checkouts[0].patchset_hash, "",
            "the base has no patches"
        );
        assert_ne!(all.builds[0].checkout_id, all.builds[1].checkout_id);
        assert_eq!(all.builds[1].checkout_id, all.builds[2].checkout_id);
    }

    #[test]
    fn ids_and_paths_are_made_of_what_the_schema_allows() {
        let mut report = sample();
        let odd = Entry::fail("tip+rust movable", "gup_test", "-a -n 1: ok. (2)..é")
            .because("\0".to_owned() + &"é".repeat(20_000));
        report.entries = vec![odd];
        let all = submission(&report, "me");
        let test = &all.tests[0];
        assert_eq!(
            test.path,
            "gup_test.-a_-n_1__ok._(2)._".replace(['(', ')'], "_")
        );
        assert_eq!(test.log_excerpt.chars().count(), EXCERPT);
        assert!(!test.log_excerpt.contains('\0'));
        assert_eq!(test.environment.as_ref().unwrap().comment, "guest movable");
        assert_eq!(all.builds[0].comment, "tip+rust");
        for id in [&test.id, &test.build_id, &all.checkouts[0].id] {
            assert!(id.starts_with("me:") && !id.contains('\0'), "{id}");
        }
    }

    #[test]
    fn missing_values_are_left_out() {
        let text = render(&sample(), "me");
        assert!(!text.contains("null"), "{text}");
        assert!(text.contains("\"status\": \"MISS\""), "{text}");
        assert!(text.contains("\"start_time\": \"2026-11-15T"), "{text}");
    }
}
