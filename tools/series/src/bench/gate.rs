// SPDX-License-Identifier: GPL-2.0
//! The gate: what is counted now against what was recorded.

use super::record::Record;

/// How much more than recorded is still the same.
const TOLERANCE: f64 = 0.02;

/// What the gate found.
#[derive(Debug, PartialEq)]
pub enum Finding {
    /// More than recorded.
    Worse { key: String, was: i64, now: i64 },
    /// So much less than recorded that a later increase would hide in the difference.
    Better { key: String, was: i64, now: i64 },
    /// Recorded, and not counted now.
    Missing(String),
    /// Counted, and never recorded.
    New(String),
}

impl Finding {
    /// Less than recorded is no failure.
    pub fn fails(&self) -> bool {
        !matches!(self, Finding::Better { .. })
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let percent = |was: i64, now: i64| 100.0 * (now - was) as f64 / was.max(1) as f64;
        match self {
            Finding::Worse { key, was, now } => {
                write!(
                    f,
                    "FAIL  {key}: {now}, recorded {was} ({:+.1} %)",
                    percent(*was, *now)
                )
            }
            Finding::Better { key, was, now } => {
                write!(
                    f,
                    "less  {key}: {now}, recorded {was} ({:+.1} %)",
                    percent(*was, *now)
                )
            }
            Finding::Missing(key) => write!(f, "FAIL  {key}: recorded, and not counted"),
            Finding::New(key) => write!(f, "FAIL  {key}: counted, and not recorded"),
        }
    }
}

/// What may differ for reasons that are no cost: the kernel reports some in microseconds, and a handful of
/// instructions is what the compiler makes of the same code.
fn slack(operation: &str) -> f64 {
    if operation.ends_with("_fast") {
        2000.0
    } else if operation == "metadata" {
        // Two pages that a cache of the allocator happens to take.
        8192.0
    } else {
        64.0
    }
}

/// Compares what was counted on the same kernels and buffers.
pub fn compare(recorded: &Record, now: &Record, asked: impl Fn(&str) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (key, &was) in recorded.counts.iter().filter(|(key, _)| asked(key)) {
        let operation = key.rsplit(' ').next().unwrap_or("");
        // How memory is laid out is no cost.
        if operation == "runs" {
            continue;
        }
        let allowed = was as f64 * TOLERANCE + slack(operation);
        let key = key.clone();
        match now.counts.get(&key) {
            None => findings.push(Finding::Missing(key)),
            Some(&now) if (now - was) as f64 > allowed => {
                findings.push(Finding::Worse { key, was, now });
            }
            Some(&now) if (was - now) as f64 > allowed => {
                findings.push(Finding::Better { key, was, now });
            }
            Some(_) => {}
        }
    }
    let new = now
        .counts
        .keys()
        .filter(|key| !recorded.counts.contains_key(*key));
    findings.extend(new.map(|key| Finding::New(key.clone())));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(value: i64) -> Record {
        let mut record = Record::default();
        let text = format!("bench: shmem 64 create {value}\nbench: end\n");
        record.add("tip+rust", &text).unwrap();
        record
    }

    fn found(was: i64, now: i64) -> Vec<Finding> {
        compare(&record(was), &record(now), |_| true)
    }

    #[test]
    fn three_percent_more_fail() {
        let findings = found(1_000_000, 1_030_000);
        assert!(matches!(findings[..], [Finding::Worse { .. }]) && findings[0].fails());
        assert!(findings[0].to_string().contains("(+3.0 %)"));
    }

    #[test]
    fn one_percent_more_passes() {
        assert!(found(1_000_000, 1_010_000).is_empty());
        assert!(found(1_000_000, 1_000_000).is_empty());
    }

    #[test]
    fn less_is_said_and_no_failure() {
        let findings = found(1_000_000, 900_000);
        assert!(matches!(findings[..], [Finding::Better { .. }]) && !findings[0].fails());
    }

    #[test]
    fn what_is_missing_or_new_fails() {
        let missing = compare(&record(1), &Record::default(), |_| true);
        assert!(matches!(missing[..], [Finding::Missing(_)]) && missing[0].fails());
        let new = compare(&Record::default(), &record(1), |_| true);
        assert!(matches!(new[..], [Finding::New(_)]) && new[0].fails());
        assert!(compare(&record(1), &Record::default(), |_| false).is_empty());
    }

    #[test]
    fn a_few_instructions_are_not_a_change() {
        assert!(found(500, 540).is_empty());
        assert!(!found(500, 600).is_empty());
    }
}
