// SPDX-License-Identifier: GPL-2.0
//! One page that opens anywhere: nothing is loaded, and no script runs.

use std::collections::BTreeMap;

use super::{BENCH, BOOT, BUILD, EXAMPLES, Entry, Kind, PatchName, Report, escape, in_order, join};
use crate::progress::duration;

const STYLE: &str = include_str!("../../data/report/style.css");

/// Steps that took less are not worth a row.
const SHORT: f64 = 1.0;

pub fn render(report: &Report) -> String {
    let title = format!("Linux {}: {}", report.base, report.sum);
    let body = [
        head(report),
        folded(report, "Failed", &[Kind::Fail, Kind::NotRun]),
        patches(report),
        kernels(report),
        tests(report),
        skips(report),
        times(report),
    ]
    .concat();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        escape(&title)
    )
}

fn class(kind: Kind) -> &'static str {
    match kind {
        Kind::Pass => "pass",
        Kind::Fail => "fail",
        Kind::Skip => "skip",
        Kind::NotRun => "notrun",
    }
}

fn sign(kind: Kind) -> &'static str {
    match kind {
        Kind::Pass => "✓",
        Kind::Fail => "✗",
        Kind::Skip => "–",
        Kind::NotRun => "!",
    }
}

const KINDS: [Kind; 4] = [Kind::Fail, Kind::NotRun, Kind::Pass, Kind::Skip];

fn head(report: &Report) -> String {
    let failed = report.entries.iter().any(Entry::failed);
    let verdict = if failed { "Failures" } else { "Clean" };
    let tiles: String = KINDS
        .iter()
        .map(|&kind| {
            let what = match kind {
                Kind::Pass => "passed",
                Kind::Fail => "failed",
                Kind::Skip => "skipped",
                Kind::NotRun => "not run",
            };
            format!(
                "<div class=\"tile {}\"><b>{} {}</b>{what}</div>\n",
                class(kind),
                sign(kind),
                report.count(kind)
            )
        })
        .collect();
    let figures = match report.figures.as_str() {
        "" => String::new(),
        figures => format!("<p>{}</p>\n", escape(figures)),
    };
    format!(
        "<h1>{verdict}: {} patches on Linux {}</h1>\n\
         <p>{}</p>\n{figures}<p class=\"dim\">{} UTC, took {}. Tip tree <code>{}</code>, tools <code>{}</code>.</p>\n\
         <div class=\"tiles\">\n{tiles}</div>\n",
        report.patches.len(),
        escape(&report.base),
        escape(&report.sum),
        report.date(),
        seconds(report.seconds as f64),
        escape(&report.tree),
        escape(&report.toolchain),
    )
}

fn seconds(s: f64) -> String {
    duration(std::time::Duration::from_secs_f64(s.max(0.0)))
}

/// Entries of these kinds, each with its text folded.
fn folded(report: &Report, title: &str, kinds: &[Kind]) -> String {
    let entries = report.entries.iter().filter(|e| kinds.contains(&e.kind));
    let items: String = entries
        .map(|entry| {
            let name = escape(&entry.name());
            let label = format!("<span class=\"{}\">{}</span> {name}", class(entry.kind), word(entry.kind));
            match entry.reason.as_str() {
                "" => format!("<details><summary>{label}</summary><pre>no more is known</pre></details>\n"),
                reason => {
                    let first = reason.lines().next().unwrap_or("");
                    format!(
                        "<details><summary>{label} <span class=\"dim\">{}</span></summary><pre>{}</pre></details>\n",
                        escape(first),
                        escape(reason)
                    )
                }
            }
        })
        .collect();
    section(title, &items)
}

fn word(kind: Kind) -> String {
    format!("{} {}", sign(kind), kind.word())
}

/// A heading with what stands below it; nothing, if nothing does.
fn section(title: &str, body: &str) -> String {
    match body {
        "" => String::new(),
        body => format!("<h2>{title}</h2>\n{body}"),
    }
}

/// What is said about one thing: its verdict if there is one, a number for each kind if there are more.
fn cell(entries: &[&Entry]) -> String {
    let (Some(worst), [first, rest @ ..]) = (worst(entries), entries) else {
        return "<td class=\"none\">·</td>".to_owned();
    };
    let text = if rest.is_empty() {
        match first.seconds {
            _ if kept(first) => format!("{} kept", sign(worst)),
            Some(s) if s >= SHORT => format!("{} {}", word(worst), seconds(s)),
            _ => word(worst),
        }
    } else {
        let counts: Vec<String> = KINDS
            .iter()
            .map(|&kind| (kind, entries.iter().filter(|e| e.kind == kind).count()))
            .filter(|(_, count)| *count > 0)
            .map(|(kind, count)| format!("{} {count}", sign(kind)))
            .collect();
        counts.join("  ")
    };
    let why: Vec<String> = entries
        .iter()
        .filter(|e| rest.is_empty() || e.kind == worst && worst != Kind::Pass)
        .map(|e| join(&[&e.case, e.reason.lines().next().unwrap_or("")]))
        .filter(|why| !why.is_empty())
        .take(3)
        .collect();
    let title = match why.is_empty() {
        true => String::new(),
        false => format!(" title=\"{}\"", escape(&why.join("\n"))),
    };
    format!("<td class=\"{}\"{title}>{text}</td>", class(worst))
}

/// A guest that was not booted again: what was said of it is of another day.
fn kept(entry: &Entry) -> bool {
    entry.test == BOOT && entry.kind == Kind::Pass && entry.seconds.is_none()
}

/// When the guests that were not booted again were.
fn kept_since(report: &Report) -> String {
    let entries: Vec<&Entry> = report.entries.iter().filter(|e| kept(e)).collect();
    if entries.is_empty() {
        return String::new();
    }
    let lines: String = entries
        .iter()
        .map(|e| format!("{}: {}\n", escape(&e.kernel), escape(&e.reason)))
        .collect();
    format!(
        "<details><summary>Kept, and not booted in this run: {}</summary><pre>{lines}</pre></details>\n",
        entries.len()
    )
}

fn worst(entries: &[&Entry]) -> Option<Kind> {
    KINDS
        .into_iter()
        .find(|&kind| entries.iter().any(|entry| entry.kind == kind))
}

/// The column of an entry in the tables of kernels.
fn check(entry: &Entry) -> &'static str {
    match entry.test.as_str() {
        BUILD => "build",
        BOOT => "boot",
        _ => "tests",
    }
}

const CHECKS: [&str; 3] = ["build", "boot", "tests"];

const NOTE: &str = "<p class=\"dim\">· stands where a run of this kind asks for nothing. Point at a cell for more.</p>\n";

/// A row for each patch, and for each configuration what was built, booted and run.
fn patches(report: &Report) -> String {
    let mut of_patches: Vec<(usize, String, &Entry)> = report
        .entries
        .iter()
        .filter_map(|entry| entry.patch().map(|(n, config)| (n, config, entry)))
        .collect();
    if of_patches.is_empty() {
        return String::new();
    }
    let of_tip: Vec<_> = report
        .entries
        .iter()
        .filter_map(|entry| Some((report.patches.len(), of_tip(entry)?.to_owned(), entry)))
        .filter(|(_, config, _)| of_patches.iter().any(|(_, known, _)| known == config))
        .collect();
    of_patches.extend(of_tip);
    let mut columns: Vec<(&str, &str)> = Vec::new();
    for config in in_order(of_patches.iter().map(|(_, config, _)| config.as_str())) {
        for name in CHECKS {
            if of_patches
                .iter()
                .any(|(_, c, e)| c == config && check(e) == name)
            {
                columns.push((config, name));
            }
        }
    }
    let names = columns
        .iter()
        .map(|(config, name)| format!("{config}: {name}"));
    let mut rows = Vec::new();
    let mut part = "";
    for (i, patch) in report.patches.iter().enumerate() {
        if patch.part != part {
            part = &patch.part;
            rows.push(format!(
                "<tr class=\"part\"><th>{}</th>{}</tr>\n",
                escape(part),
                "<td></td>".repeat(columns.len())
            ));
        }
        let cells = columns.iter().map(|(config, name)| {
            let found: Vec<&Entry> = of_patches
                .iter()
                .filter(|(n, c, e)| *n == i + 1 && c == *config && check(e) == *name)
                .map(|(_, _, e)| *e)
                .collect();
            cell(&found)
        });
        rows.push(row(&patch_name(i, patch), cells));
    }
    let table = table("patch", names, &rows.concat());
    section("Patch by patch", &format!("{NOTE}{table}"))
}

/// The kernel after the last patch is the tip, and is booted as that.
fn of_tip(entry: &Entry) -> Option<&str> {
    let config = entry.kernel.strip_prefix("tip+")?;
    let is_of_boot = ![BUILD, EXAMPLES, BENCH].contains(&entry.test.as_str());
    is_of_boot.then_some(config)
}

fn patch_name(i: usize, patch: &PatchName) -> String {
    format!("{} {}", i + 1, patch.subject)
}

fn row(name: &str, cells: impl Iterator<Item = String>) -> String {
    let name = escape(name);
    format!(
        "<tr><th title=\"{name}\">{name}</th>{}</tr>\n",
        cells.collect::<String>()
    )
}

fn table(first: &str, columns: impl Iterator<Item = String>, rows: &str) -> String {
    let columns: String = columns
        .map(|name| format!("<th scope=\"col\">{}</th>", escape(&name)))
        .collect();
    format!(
        "<div class=\"wide\"><table>\n<thead><tr><th>{first}</th>{columns}</tr></thead>\n\
         <tbody>\n{rows}</tbody>\n</table></div>\n"
    )
}

/// The kernels that are of no single patch.
fn whole_kernels(report: &Report) -> Vec<&str> {
    let of_patch = |kernel: &&str| Entry::pass(kernel, "", "").patch().is_none();
    report.kernels().into_iter().filter(of_patch).collect()
}

/// What needs no kernel, and a row for each kernel.
fn kernels(report: &Report) -> String {
    let mut rows = String::new();
    for entry in report
        .entries
        .iter()
        .filter(|entry| entry.kernel.is_empty())
    {
        let cells = ["", "", &cell(&[entry])].map(|cell| match cell {
            "" => "<td class=\"none\">·</td>".to_owned(),
            cell => cell.to_owned(),
        });
        rows += &row(&entry.name(), cells.into_iter());
    }
    for kernel in whole_kernels(report) {
        let cells = CHECKS.iter().map(|name| {
            let of_it = |entry: &&Entry| entry.kernel == kernel && check(entry) == *name;
            cell(&report.entries.iter().filter(of_it).collect::<Vec<_>>())
        });
        rows += &row(kernel, cells);
    }
    if rows.is_empty() {
        return String::new();
    }
    let columns = CHECKS.iter().map(|name| (*name).to_owned());
    let table = table("what", columns, &rows);
    section("Checks and kernels", &(table + &kept_since(report)))
}

/// Tests by kernel: a row for each program, and behind each the same by case.
fn tests(report: &Report) -> String {
    let kernels = whole_kernels(report);
    let in_guest =
        |entry: &&Entry| kernels.contains(&entry.kernel.as_str()) && check(entry) == "tests";
    let entries: Vec<&Entry> = report.entries.iter().filter(in_guest).collect();
    let mut by_place: BTreeMap<(&str, &str, &str), Vec<&Entry>> = BTreeMap::new();
    for entry in &entries {
        let place = (
            entry.test.as_str(),
            entry.case.as_str(),
            entry.kernel.as_str(),
        );
        by_place.entry(place).or_default().push(entry);
    }
    let names = || kernels.iter().map(|name| (*name).to_owned());
    let mut rows = String::new();
    let mut folded = String::new();
    for test in in_order(entries.iter().map(|entry| entry.test.as_str())) {
        let of_test: Vec<&Entry> = entries.iter().copied().filter(|e| e.test == test).collect();
        rows += &row(
            test,
            kernels.iter().map(|kernel| {
                cell(
                    &of_test
                        .iter()
                        .copied()
                        .filter(|e| e.kernel == *kernel)
                        .collect::<Vec<_>>(),
                )
            }),
        );
        let mut inner = String::new();
        for case in in_order(of_test.iter().map(|entry| entry.case.as_str())) {
            inner += &row(
                case,
                kernels.iter().map(|kernel| {
                    cell(
                        by_place
                            .get(&(test, case, *kernel))
                            .map_or(&[], Vec::as_slice),
                    )
                }),
            );
        }
        if !inner.is_empty() {
            let kind = worst(&of_test).unwrap_or(Kind::Skip);
            folded += &format!(
                "<details><summary><span class=\"{}\">{}</span> {}</summary>{}</details>\n",
                class(kind),
                sign(kind),
                escape(test),
                table("case", names(), &inner)
            );
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    section("Tests by kernel", &table("test", names(), &rows)) + &section("Case by case", &folded)
}

/// Skips with the same reason are one.
fn skips(report: &Report) -> String {
    let mut by_reason: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in report.entries.iter().filter(|e| e.kind == Kind::Skip) {
        by_reason.entry(&entry.reason).or_default().push(entry);
    }
    let mut by_reason: Vec<(&str, Vec<&Entry>)> = by_reason.into_iter().collect();
    by_reason.sort_by_key(|(_, entries)| std::cmp::Reverse(entries.len()));
    let items: String = by_reason
        .iter()
        .map(|(reason, entries)| {
            let reason = if reason.is_empty() { "no reason was given" } else { reason };
            let names: String = entries.iter().map(|e| format!("{}\n", escape(&e.name()))).collect();
            format!(
                "<details><summary><span class=\"skip\">{} {}</span> {}</summary><pre>{names}</pre></details>\n",
                sign(Kind::Skip),
                entries.len(),
                escape(reason)
            )
        })
        .collect();
    section("Skipped, by reason", &items)
}

/// What took the time, the longest first.
fn times(report: &Report) -> String {
    let mut steps: Vec<(&str, f64)> = report
        .steps
        .iter()
        .filter(|step| step.seconds >= SHORT)
        .map(|step| (step.name.as_str(), step.seconds))
        .collect();
    steps.sort_by(|a, b| b.1.total_cmp(&a.1));
    let longest = steps.first().map_or(1.0, |step| step.1);
    let rows: String = steps
        .iter()
        .map(|(name, time)| {
            let bar = format!(
                "<td class=\"number\">{}</td><td class=\"bar\"><span style=\"width:{:.1}%\"></span></td>",
                seconds(*time),
                100.0 * time / longest
            );
            row(name, [bar].into_iter())
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let columns = ["time", ""].map(str::to_owned).into_iter();
    let table = table("step", columns, &rows);
    format!(
        "<h2>Where the time went</h2>\n<details><summary>{} steps, longest first</summary>{table}</details>\n",
        steps.len()
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;

    #[test]
    fn tiles_add_up_to_the_sum() {
        let mut report = sample();
        report.entries[0].tests = 12;
        assert!(
            head(&report).contains("<b>✓ 15</b>passed"),
            "{}",
            head(&report)
        );
    }

    #[test]
    fn one_page_without_anything_from_elsewhere() {
        let page = render(&sample());
        assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
        for word in [
            "http:", "https:", "//", "<script", "@import", "url(", "src=", "<link",
        ] {
            assert!(!page.contains(word), "{word} in {page}");
        }
        for tag in [
            "table", "tr", "td", "th", "details", "summary", "div", "pre", "span",
        ] {
            let opened = page.matches(&format!("<{tag}>")).count()
                + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }

    #[test]
    fn patches_kernels_and_cases_have_their_cells() {
        let page = render(&sample());
        for part in [
            "<h1>Failures: 2 patches on Linux 7.3.4</h1>",
            "<p>in all: 12 calls, 3 refused</p>",
            "1 mm: &lt;one&gt; &amp; &quot;two&quot;</th><td class=\"pass\" title=\"what it touches\">✓ pass 31 s</td>",
            "<th title=\"2 mm: three\">2 mm: three</th><td class=\"fail\" title=\"whole kernel: error: x\">✗ FAIL</td>\
            <td class=\"notrun\" title=\"the budget is spent\">! NOT RUN</td>",
            "<pre>error: x\n    &quot;a&quot; &lt; b &amp;&amp; c [0m</pre>",
            "<th title=\"tip+c\">tip+c</th><td class=\"none\">·</td><td class=\"pass\">✓ pass</td><td class=\"pass\">✓ 1  – 1</td>",
            "<td class=\"notrun\" title=\"the budget is spent\">! NOT RUN</td>",
            "<th title=\"x: y\">x: y</th><td class=\"skip\" title=\"x: y: as on the base\">– skip</td>",
            "<span class=\"skip\">– 1</span> as on the base",
            "booting tip+c</th><td class=\"number\">1 min 01 s</td>",
        ] {
            assert!(page.contains(part), "{part}\nin\n{page}");
        }
    }

    #[test]
    fn a_guest_that_was_not_booted_says_so() {
        let mut report = sample();
        assert!(!render(&report).contains("not booted"));
        report
            .entries
            .push(Entry::pass("tip+c cma", BOOT, "").because("as on 1970"));
        let page = render(&report);
        for part in [
            "<td class=\"pass\" title=\"as on 1970\">✓ kept</td>",
            "Kept, and not booted in this run: 1<",
            "<pre>tip+c cma: as on 1970\n</pre>",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
    }

    #[test]
    fn a_clean_run_has_no_failures_to_show() {
        let mut report = sample();
        report.entries.retain(|entry| !entry.failed());
        let page = render(&report);
        assert!(page.contains("<h1>Clean: "), "{page}");
        assert!(!page.contains("<h2>Failed"), "{page}");
    }
}
