// SPDX-License-Identifier: GPL-2.0
//! The time of day, for people and for other programs.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970; 0 on a machine whose clock is before that.
pub fn now() -> u64 {
    seconds(SystemTime::now())
}

/// The same of another time.
pub fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// "2026-11-15 00:00:00", in UTC.
pub fn date(seconds: u64) -> String {
    let (year, month, day) = civil(seconds / 86_400);
    let second = seconds % 86_400;
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// Whether there is a day that is written like this: "2026-11-15".
pub fn is_day(text: &str) -> bool {
    let numbers: Option<Vec<u64>> = text.split('-').map(|part| part.parse().ok()).collect();
    let Some([year, month, day]) = numbers.as_deref() else {
        return false;
    };
    let is_there = (1..=12).contains(month) && (1..=length(*year, *month)).contains(day);
    is_there && format!("{year:04}-{month:02}-{day:02}") == text
}

/// How many days a month has, which is counted from 1.
fn length(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn is_leap(year: u64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Year, month and day of a day that is counted from 1970.
fn civil(mut day: u64) -> (u64, u64, u64) {
    let mut year = 1970;
    while day >= 365 + u64::from(is_leap(year)) {
        day -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = 1;
    while day >= length(year, month) {
        day -= length(year, month);
        month += 1;
    }
    (year, month, day + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (seconds, said) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_400, "2000-02-29 00:00:00"),
            (1_709_251_199, "2024-02-29 23:59:59"),
            (1_798_761_599, "2026-12-31 23:59:59"),
            (4_107_542_400, "2100-03-01 00:00:00"),
        ] {
            assert_eq!(date(seconds), said);
        }
    }

    #[test]
    fn days() {
        for day in ["2026-11-15", "2028-02-29", "2000-02-29", "2027-12-31"] {
            assert!(is_day(day), "{day}");
        }
        for day in [
            "2027-99-99",
            "2027-02-29",
            "2100-02-29",
            "2027-04-31",
            "2027-00-10",
            "2027-01-00",
            "2027-1-01",
            "2027-01-1",
            "+027-01-01",
            "27-01-01",
            "2027-01",
            "2027-01-01-",
            "",
        ] {
            assert!(!is_day(day), "{day}");
        }
    }
}
