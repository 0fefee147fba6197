// SPDX-License-Identifier: GPL-2.0
//! The `[kernel]` table of `series.toml`: what runs in the guest, and what is asked of it.

use std::collections::BTreeMap;

use super::lane::{self, Lane, PRIMARY};
use super::own;
use crate::clock;
use crate::error;

/// The whole table.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What every kernel that runs tests has on its command line.
    #[serde(default)]
    pub append: String,
    /// The programs that run in the guest, in this order.
    #[serde(default)]
    pub tests: Vec<GuestTest>,
    /// What the kernel may complain about.
    #[serde(default)]
    pub complaints: Vec<Complaint>,
    /// Guests with a memory of their own.
    #[serde(default)]
    pub guests: Vec<Layout>,
    /// The ways to build kernels.
    #[serde(default, deserialize_with = "lane::read_all")]
    pub lanes: Vec<Lane>,
}

/// A guest that has what the usual one lacks, for the cases that need it.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    pub name: String,
    /// What is added to the kernel's command line.
    pub append: String,
    /// As QEMU takes it, "6G"; in "3G+2G", the 2 GiB are plugged in.
    pub memory: String,
    /// The tests that run in it, and how many cases of each may be skipped there.
    pub tests: BTreeMap<String, usize>,
    /// It takes long: `test --full` boots it, and `boot --guest`.
    #[serde(default)]
    pub only_full: bool,
    /// It is booted with the base too, where each case must end as on the tip, but for what the stack mends.
    #[serde(default)]
    pub with_base: bool,
    /// Test cases that the stack mends, by test, and that only this guest shows: they must fail on the base.
    #[serde(default)]
    pub fails_on_base: BTreeMap<String, Vec<String>>,
}

/// A kselftest program that runs in the guest.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuestTest {
    pub name: String,
    /// Its folder under tools/testing/selftests.
    #[serde(default)]
    pub dir: String,
    /// It is no selftest of the kernel but a program of this tool, in its folder `guest`.
    #[serde(default)]
    pub own: bool,
    /// It runs in the guests that name it, and in no other.
    #[serde(default)]
    pub in_guests_only: bool,
    pub program: String,
    /// Other programs of the same folder, which it runs.
    #[serde(default)]
    pub beside: Vec<String>,
    /// How many test cases a run of it has: fewer results than that are a failure.
    pub cases: usize,
    /// 2 MiB huge pages that it needs.
    #[serde(default)]
    pub hugepages: u32,
    /// Test cases that the stack mends: they must fail on the base.
    #[serde(default)]
    pub fails_on_base: Vec<String>,
    /// The base need not fail them here: that is shown in the primary lane.
    #[serde(skip)]
    pub base_may_pass: bool,
    /// It asks for what only the stack has: it does not run on the base.
    #[serde(default)]
    pub not_on_base: bool,
    /// How many of its cases may say that they do not apply here; one more is a failure.
    #[serde(default)]
    pub skips: usize,
    /// The kernel's own: every case must end as it ends on the base, whether that is a pass, a failure or a skip. Only
    /// what `fails_on_base` names must pass.
    #[serde(default)]
    pub same_as_base: bool,
    /// It runs once with each of these arguments, which blanks separate; once without any if there are none.
    #[serde(default)]
    pub runs: Vec<String>,
    /// It speaks no KTAP, and starts a line with this before each of its steps.
    pub steps: Option<String>,
    /// It runs on the base, which may complain about what the tip may not.
    #[serde(skip)]
    pub on_base: bool,
    /// Seconds until it is killed; the other tests run then.
    #[serde(default = "default_timeout")]
    pub timeout: u32,
}

/// A complaint of the kernel that is known, and no failure for a while.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Complaint {
    /// What it looks like: a part of each of its lines on the console.
    pub lines: Vec<String>,
    pub reason: String,
    /// The first day on which it is a failure again: "2027-05-31".
    pub until: String,
    /// The tests that it may be heard in.
    pub tests: Vec<String>,
    /// It may be heard on the base only.
    #[serde(default)]
    pub on_base: bool,
}

impl Complaint {
    /// Whether this line may be heard while this test runs, at this time in seconds since 1970.
    pub fn covers(&self, line: &str, test: &GuestTest, now: u64) -> bool {
        self.tests.contains(&test.name)
            && (test.on_base || !self.on_base)
            && self.lines.iter().any(|known| line.contains(known))
            && self.holds_at(now)
    }

    fn holds_at(&self, now: u64) -> bool {
        // Dates written like this are in the order of their text.
        clock::date(now).as_str() < self.until.as_str()
    }

    /// `known` are the tests that there are.
    fn validate(&self, known: &[&str]) -> Result<(), String> {
        if self.lines.is_empty() || self.tests.is_empty() {
            return Err("it has no lines, or no tests".to_owned());
        }
        if let Some(short) = self.lines.iter().find(|line| line.trim().len() < 10) {
            return Err(format!("{short:?} has less than ten characters"));
        }
        if self.reason.trim().is_empty() {
            return Err("reason = does not say why it is no failure".to_owned());
        }
        if !clock::is_day(&self.until) {
            return Err(format!(
                "until = {:?} is no date like 2027-05-31",
                self.until
            ));
        }
        match self
            .tests
            .iter()
            .find(|name| !known.contains(&name.as_str()))
        {
            Some(unknown) => Err(format!("no test {unknown:?}")),
            None => Ok(()),
        }
    }
}

fn default_timeout() -> u32 {
    300
}

/// So that a test that hangs does not hold up all others for long. A slow lane allows a multiple of it.
const LONGEST_TIMEOUT: u32 = 500;

impl GuestTest {
    /// What the guest runs: the name that a run goes by, and its arguments.
    pub fn runs(&self) -> Vec<(String, &str)> {
        if self.runs.is_empty() {
            return vec![(self.name.clone(), "")];
        }
        self.runs
            .iter()
            .map(|arguments| (format!("{} {arguments}", self.name), arguments.as_str()))
            .collect()
    }

    /// The lines of the guest's list: name, huge pages, seconds and command, with a tab between them.
    pub fn lines(&self) -> String {
        self.runs()
            .iter()
            .map(|(name, arguments)| {
                let command = format!("{} {arguments}", self.program);
                format!(
                    "{name}\t{}\t{}\t{}\n",
                    self.hugepages,
                    self.timeout,
                    command.trim_end()
                )
            })
            .collect()
    }

    fn validate(&self) -> Result<(), String> {
        let plain = |text: &str, also: &str| {
            !text.is_empty()
                && text
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || also.contains(c))
        };
        for (field, text, also) in [
            ("name", &self.name, "-_."),
            ("program", &self.program, "-_."),
            ("dir", &self.dir, "-_./"),
        ] {
            if !(plain(text, also) || field == "dir" && self.own) {
                return Err(format!("{field} = {text:?} is no plain name"));
            }
        }
        if let Some(wrong) = self.beside.iter().find(|name| !plain(name, "-_.")) {
            return Err(format!("beside: {wrong:?} is no plain name"));
        }
        let mut programs = self.beside.iter().chain([&self.program]);
        if self.own && (!self.dir.is_empty() || programs.any(|program| !own::is_known(program))) {
            return Err(format!(
                "own: {:?}, or what is beside it, is no program in tools/series/guest, which has no folders",
                self.program
            ));
        }
        if let Some(wrong) = self.runs.iter().find(|run| !plain(run, "-_./=,: ")) {
            return Err(format!(
                "runs: {wrong:?} has more than words with blanks between them; no shell reads it"
            ));
        }
        if self.not_on_base && (self.same_as_base || !self.fails_on_base.is_empty()) {
            return Err("not_on_base is for tests that the base is not asked about".to_owned());
        }
        if self.same_as_base && self.skips > 0 {
            return Err("skips is for tests without same_as_base".to_owned());
        }
        if !(1..=LONGEST_TIMEOUT).contains(&self.timeout) {
            return Err(format!(
                "timeout = {} is not from 1 to {LONGEST_TIMEOUT} seconds",
                self.timeout
            ));
        }
        Ok(())
    }

    /// A test with nothing special about it.
    #[cfg(test)]
    pub fn plain(name: &str, cases: usize) -> Self {
        GuestTest {
            name: name.to_owned(),
            dir: "mm".to_owned(),
            own: false,
            in_guests_only: false,
            program: name.to_owned(),
            cases,
            hugepages: 0,
            fails_on_base: Vec::new(),
            base_may_pass: false,
            not_on_base: false,
            skips: 0,
            same_as_base: false,
            runs: Vec::new(),
            steps: None,
            beside: Vec::new(),
            on_base: false,
            timeout: default_timeout(),
        }
    }
}

impl Settings {
    pub fn validate(&self) -> Result<(), String> {
        for (i, test) in self.tests.iter().enumerate() {
            test.validate()
                .map_err(|cause| format!("kernel.tests {:?}: {cause}", test.name))?;
            if self.tests[..i].iter().any(|other| other.name == test.name) {
                return Err(format!("two of kernel.tests have the name {:?}", test.name));
            }
        }
        for layout in &self.guests {
            let wrong = |cause: String| format!("kernel.guests {:?}: {cause}", layout.name);
            self.find_tests(layout).map_err(wrong)?;
            if !is_memory(&layout.memory) {
                let memory = &layout.memory;
                return Err(wrong(format!(
                    "memory = {memory:?} is no size like 3G or 3G+2G"
                )));
            }
        }
        let names: Vec<&str> = self.tests.iter().map(|test| test.name.as_str()).collect();
        for complaint in &self.complaints {
            let line = complaint.lines.first().map_or("", String::as_str);
            complaint
                .validate(&names)
                .map_err(|cause| format!("kernel.complaints {line:?}: {cause}"))?;
        }
        let guests: Vec<&str> = self
            .guests
            .iter()
            .map(|guest| guest.name.as_str())
            .collect();
        lane::validate(&self.lanes, &names, &guests)
    }

    /// The lane of this name; the primary one if there is none.
    pub fn lane(&self, name: Option<&str>) -> error::Result<&Lane> {
        lane::named(&self.lanes, name.unwrap_or(PRIMARY))
    }

    /// The same without what does not run in this lane, and with its skips and cases.
    pub fn in_lane(&self, lane: &Lane) -> Settings {
        let mut here = self.clone();
        here.tests.retain(|test| lane.leaves_out(test).is_none());
        for test in &mut here.tests {
            if let Some(skips) = lane.skips.get(&test.name) {
                test.skips = *skips;
            }
            if let Some(cases) = lane.cases.get(&test.name) {
                test.cases = *cases;
            }
            test.timeout *= lane.slower;
            test.base_may_pass = lane.name != PRIMARY;
        }
        for layout in &mut here.guests {
            let runs = |name: &String| here.tests.iter().any(|test| test.name == *name);
            layout.tests.retain(|name, _| runs(name));
            layout.fails_on_base.retain(|name, _| runs(name));
        }
        here
    }

    /// The tests of a guest with a memory of its own.
    pub fn in_layout(&self, layout: &Layout) -> Vec<GuestTest> {
        self.find_tests(layout).expect("series.toml was validated")
    }

    fn find_tests(&self, layout: &Layout) -> Result<Vec<GuestTest>, String> {
        let is_known = |name: &&String| self.tests.iter().any(|test| test.name == **name);
        if let Some(unknown) = layout.tests.keys().find(|name| !is_known(name)) {
            return Err(format!("no test {unknown:?}"));
        }
        let fails = |name: &&String| layout.with_base && layout.tests.contains_key(*name);
        if let Some(wrong) = layout.fails_on_base.keys().find(|name| !fails(name)) {
            return Err(format!("{wrong:?} does not run on the base"));
        }
        let mut tests = Vec::new();
        for test in &self.tests {
            let Some(skips) = layout.tests.get(&test.name) else {
                continue;
            };
            if test.same_as_base {
                return Err(format!(
                    "{:?} has same_as_base, which a guest of its own has no base for",
                    test.name
                ));
            }
            let fails = layout.fails_on_base.get(&test.name).into_iter().flatten();
            let mut test = test.clone();
            test.skips = *skips;
            test.fails_on_base.extend(fails.cloned());
            tests.push(test);
        }
        Ok(tests)
    }

    /// Whether the test of this name is compared with the base.
    pub fn compares(&self, name: &str) -> bool {
        self.tests
            .iter()
            .any(|test| test.name == name && test.same_as_base)
    }

    /// The tests that run in a guest without a name.
    pub fn usual(&self) -> Vec<GuestTest> {
        let mut tests = self.tests.clone();
        tests.retain(|test| !test.in_guests_only);
        tests
    }

    /// Those of them that say by themselves whether a kernel is right.
    pub fn absolute(&self) -> Vec<GuestTest> {
        let mut tests = self.usual();
        tests.retain(|test| !test.same_as_base);
        tests
    }
}

/// Those of these tests that the base is asked about, with what it may complain about.
pub fn on_base(mut tests: Vec<GuestTest>) -> Vec<GuestTest> {
    tests.retain(|test| !test.not_on_base);
    may_complain_on_base(&mut tests);
    tests
}

/// These tests with what the base may complain about.
pub fn may_complain_on_base(tests: &mut [GuestTest]) {
    for test in tests {
        test.on_base = true;
    }
}

/// Whether QEMU takes this for a guest's memory: a number with K, M or G; or two of them.
pub fn is_memory(text: &str) -> bool {
    let is_size = |text: &str| {
        let digits = text.trim_end_matches(['k', 'K', 'm', 'M', 'g', 'G']);
        text.len() - digits.len() <= 1 && digits.parse::<u32>().is_ok_and(|n| n > 0)
    };
    text.split('+').count() <= 2 && text.split('+').all(is_size)
}

#[cfg(test)]
mod tests {
    use super::super::arch::Arch;
    use super::*;

    fn of(tests: Vec<GuestTest>) -> Settings {
        Settings {
            tests,
            ..Settings::default()
        }
    }

    fn complaint() -> Complaint {
        Complaint {
            lines: vec!["DMA-API: no memory".to_owned()],
            reason: "it was made to fail".to_owned(),
            until: "2026-11-15".to_owned(),
            tests: vec!["a".to_owned()],
            on_base: false,
        }
    }

    #[test]
    fn a_known_complaint_has_a_reason_an_end_and_tests() {
        let good = complaint();
        // 1794700800 is the beginning of that day.
        assert!(good.holds_at(1_794_700_799) && !good.holds_at(1_794_700_800));
        let wrong = |change: fn(&mut Complaint)| {
            let mut settings = of(vec![GuestTest::plain("a", 1)]);
            settings.complaints = vec![complaint()];
            change(&mut settings.complaints[0]);
            settings.validate()
        };
        assert_eq!(wrong(|_| ()), Ok(()));
        for (change, named) in [
            (
                (|known| known.lines.push("BUG".into())) as fn(&mut Complaint),
                "\"BUG\"",
            ),
            (|known| known.lines.clear(), "no lines"),
            (|known| known.tests.clear(), "no tests"),
            (|known| known.reason = " ".into(), "reason"),
            (|known| known.until = "15.11.2026".into(), "15.11.2026"),
            (|known| known.until = "2026-11-1".into(), "2026-11-1"),
            (|known| known.until = "2027-99-99".into(), "2027-99-99"),
            (|known| known.tests.push("none".into()), "no test \"none\""),
        ] {
            let cause = wrong(change).unwrap_err();
            assert!(cause.starts_with("kernel.complaints \""), "{cause}");
            assert!(cause.contains(named), "{cause}");
        }
    }

    #[test]
    fn what_the_base_complains_about_is_excused_there_only() {
        let mut known = complaint();
        known.on_base = true;
        let tests = of(vec![GuestTest::plain("a", 1)]).usual();
        let line = "DMA-API: no memory for it";
        assert!(!known.covers(line, &tests[0], 0));
        assert!(known.covers(line, &on_base(tests)[0], 0));
    }

    #[test]
    fn the_memory_of_a_guest_is_a_size() {
        for good in ["3G", "512M", "4096", "3G+2G"] {
            assert!(is_memory(good), "{good}");
        }
        for bad in ["", "G", "3GG", "-1G", "3 G", "0", "3G+", "+2G", "1G+1G+1G"] {
            assert!(!is_memory(bad), "{bad:?}");
        }
        let mut settings = of(Vec::new());
        settings.guests = vec![Layout {
            name: "movable".to_owned(),
            append: String::new(),
            memory: "3 G".to_owned(),
            tests: BTreeMap::new(),
            only_full: false,
            with_base: false,
            fails_on_base: BTreeMap::new(),
        }];
        let cause = settings.validate().unwrap_err();
        assert!(
            cause.ends_with("memory = \"3 G\" is no size like 3G or 3G+2G"),
            "{cause}"
        );
    }

    #[test]
    fn a_guest_of_its_own_has_its_own_skips() {
        let mut own = GuestTest::plain("gup_test", 1);
        own.same_as_base = true;
        let mut settings = of(vec![GuestTest::plain("pin_fd", 3), own]);
        let layout = |test: &str| Layout {
            name: "movable".to_owned(),
            append: "movablecore=1G".to_owned(),
            memory: "6G".to_owned(),
            tests: [(test.to_owned(), 2)].into(),
            only_full: false,
            with_base: false,
            fails_on_base: BTreeMap::new(),
        };
        let tests = settings.in_layout(&layout("pin_fd"));
        assert_eq!((tests[0].name.as_str(), tests[0].skips), ("pin_fd", 2));
        for wrong in ["gup_test", "none"] {
            settings.guests = vec![layout(wrong)];
            let cause = settings.validate().unwrap_err();
            assert!(
                cause.contains("movable") && cause.contains(wrong),
                "{cause}"
            );
        }
    }

    #[test]
    fn a_guest_runs_its_tests_in_the_usual_order_and_may_show_what_others_do_not() {
        let settings = of(vec![
            GuestTest::plain("sync", 1),
            GuestTest::plain("data", 1),
        ]);
        let mut layout = Layout {
            name: "bounce".to_owned(),
            append: "swiotlb=force".to_owned(),
            memory: "3G".to_owned(),
            tests: [("data".to_owned(), 0), ("sync".to_owned(), 0)].into(),
            only_full: false,
            with_base: true,
            fails_on_base: [("sync".to_owned(), vec!["sync.a".to_owned()])].into(),
        };
        let tests = settings.in_layout(&layout);
        assert_eq!(tests[0].fails_on_base, ["sync.a"]);
        assert_eq!(tests[1].name, "data");
        assert!(tests[1].fails_on_base.is_empty());
        assert!(settings.tests[0].fails_on_base.is_empty());

        layout.with_base = false;
        let cause = settings.find_tests(&layout).unwrap_err();
        assert!(cause.contains("\"sync\""), "{cause}");
    }

    #[test]
    fn a_test_runs_once_with_each_of_its_arguments() {
        let mut test = GuestTest::plain("gup_test", 1);
        assert_eq!(test.lines(), "gup_test\t0\t300\tgup_test\n");
        test.hugepages = 4;
        test.timeout = 60;
        test.runs = vec!["-a -n 1".to_owned(), "-L".to_owned()];
        assert_eq!(
            test.lines(),
            "gup_test -a -n 1\t4\t60\tgup_test -a -n 1\ngup_test -L\t4\t60\tgup_test -L\n"
        );
    }

    #[test]
    fn what_the_guest_could_misread_is_refused() {
        let wrong = |change: fn(&mut GuestTest)| {
            let mut test = GuestTest::plain("a", 1);
            change(&mut test);
            of(vec![test]).validate()
        };
        assert_eq!(wrong(|_| ()), Ok(()));
        assert_eq!(wrong(|test| test.runs = vec!["-F 0x1".into()]), Ok(()));
        assert!(wrong(|test| test.name = "a b".into()).is_err());
        assert!(wrong(|test| test.program = "a\tb".into()).is_err());
        assert!(wrong(|test| test.beside = vec!["../a".into()]).is_err());
        assert!(wrong(|test| test.runs = vec!["$(reboot)".into()]).is_err());
        assert!(wrong(|test| test.runs = vec![String::new()]).is_err());
        assert!(wrong(|test| test.timeout = 0).is_err());
        assert!(wrong(|test| test.timeout = 9999).is_err());
        let both = wrong(|test| {
            test.same_as_base = true;
            test.fails_on_base = vec!["x".into()];
        });
        assert_eq!(both, Ok(()));
        let unasked = wrong(|test| {
            test.not_on_base = true;
            test.fails_on_base = vec!["x".into()];
        });
        assert!(unasked.unwrap_err().contains("not_on_base"));
        let skips = wrong(|test| {
            test.same_as_base = true;
            test.skips = 1;
        });
        assert!(skips.unwrap_err().contains("skips"));
    }

    #[test]
    fn the_kernels_own_are_compared_and_left_out_elsewhere() {
        let mut own = GuestTest::plain("iommufd", 1);
        own.same_as_base = true;
        let settings = of(vec![GuestTest::plain("udmabuf", 1), own]);
        assert!(settings.compares("iommufd") && !settings.compares("udmabuf"));
        let names: Vec<String> = settings.absolute().into_iter().map(|t| t.name).collect();
        assert_eq!(names, ["udmabuf"]);
    }

    #[test]
    fn a_program_of_this_tool_is_in_no_folder() {
        let mut fuzz = GuestTest::plain("fuzz", 1);
        fuzz.own = true;
        assert!(of(vec![fuzz.clone()]).validate().is_err());
        fuzz.dir.clear();
        assert_eq!(of(vec![fuzz.clone()]).validate(), Ok(()));
        fuzz.program = "none".to_owned();
        let cause = of(vec![fuzz]).validate().unwrap_err();
        assert!(cause.contains("none"), "{cause}");
    }

    #[test]
    fn what_wants_a_guest_of_its_own_is_in_no_other() {
        let mut own = GuestTest::plain("liveupdate", 1);
        own.in_guests_only = true;
        let settings = of(vec![own]);
        assert!(settings.usual().is_empty() && settings.absolute().is_empty());
        let tests = settings.in_lane(&Lane::plain("debug")).usual();
        assert!(tests.is_empty());
    }

    #[test]
    fn a_lane_says_what_does_not_run_in_it_and_what_is_skipped() {
        let mut lane = Lane::plain("debug");
        lane.leave_out = [("iommufd".to_owned(), "takes too long".to_owned())].into();
        lane.skips = [("udmabuf".to_owned(), 2)].into();
        lane.cases = [("udmabuf".to_owned(), 5)].into();
        lane.slower = 3;
        let mut settings = of(vec![
            GuestTest::plain("iommufd", 1),
            GuestTest::plain("udmabuf", 3),
        ]);
        settings.guests = vec![Layout {
            name: "movable".to_owned(),
            append: String::new(),
            memory: "2G".to_owned(),
            tests: [("iommufd".to_owned(), 0), ("udmabuf".to_owned(), 1)].into(),
            only_full: false,
            with_base: false,
            fails_on_base: BTreeMap::new(),
        }];
        let here = settings.in_lane(&lane);
        assert!(here.usual().iter().all(|test| test.timeout == 900));
        let tests = here.usual();
        assert_eq!(tests.len(), 1);
        assert_eq!((tests[0].name.as_str(), tests[0].skips), ("udmabuf", 2));
        assert_eq!((tests[0].cases, tests[0].base_may_pass), (5, true));
        let tests = here.in_layout(&here.guests[0]);
        assert_eq!(tests.len(), 1);
        assert_eq!((tests[0].name.as_str(), tests[0].skips), ("udmabuf", 1));
    }

    #[test]
    fn programs_of_this_tool_run_on_this_machines_architecture() {
        let mut fuzz = GuestTest::plain("fuzz", 1);
        fuzz.own = true;
        let settings = of(vec![fuzz, GuestTest::plain("udmabuf", 1)]);
        let mut lane = Lane::plain("x");
        assert_eq!(settings.in_lane(&lane).usual().len(), 2);
        lane.arch = Arch::of_test("arm64");
        let names: Vec<String> = settings
            .in_lane(&lane)
            .usual()
            .into_iter()
            .map(|t| t.name)
            .collect();
        assert_eq!(names, ["udmabuf"]);
    }

    #[test]
    fn what_only_the_stack_has_is_not_asked_of_the_base() {
        let mut new = GuestTest::plain("pin_fd", 3);
        new.not_on_base = true;
        let settings = of(vec![GuestTest::plain("udmabuf", 1), new]);
        let names: Vec<String> = on_base(settings.absolute())
            .into_iter()
            .map(|t| t.name)
            .collect();
        assert_eq!(names, ["udmabuf"]);
    }

    #[test]
    fn two_tests_of_one_name_are_refused() {
        let tests = vec![GuestTest::plain("a", 1), GuestTest::plain("a", 2)];
        assert!(of(tests).validate().is_err());
    }
}
