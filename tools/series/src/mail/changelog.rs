// SPDX-License-Identifier: GPL-2.0
//! Which version of a part its cover letter is of: from the second on it says what changed.

use std::path::Path;

use crate::error::{Error, Result};

/// As lines like "Changes since v1:" and "Changes in v2:" say; the first version has none.
pub fn version(cover: &str) -> u32 {
    cover.lines().filter_map(said).max().unwrap_or(1)
}

fn said(line: &str) -> Option<u32> {
    let line = line.to_lowercase();
    let mut words = line.split([' ', ':']);
    let later = match (words.next()?, words.next()?) {
        ("changes", "since" | "from") => 1,
        ("changes", "in") => 0,
        _ => return None,
    };
    let number: u32 = words.next()?.strip_prefix('v')?.parse().ok()?;
    number.checked_add(later)
}

/// Fails unless the cover letter is of the version that is asked for.
pub fn need(place: &Path, cover: &str, wanted: u32) -> Result<()> {
    let found = version(cover);
    if found == wanted {
        return Ok(());
    }
    let place = place.display();
    if found > wanted {
        let cause = format!("is of v{found}, as its changelog says, and not of v{wanted}");
        return Err(Error::finding(place, cause).mend(format!("--version v{found}")));
    }
    let before = wanted - 1;
    let cause = format!("has no lines \"Changes since v{before}:\" for v{wanted}");
    Err(Error::finding(place, cause)
        .mend(format!(
            "cargo series diff TAG-OF-V{before}, whose end is the start of a changelog; it goes into the message of the part's cover commit, then cargo series refresh"
        )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_cover_letters() {
        for (cover, number) in [
            ("", 1),
            ("A feature.\n\nNothing changes since v1 of the plan.\n", 1),
            ("A.\n\nChanges since v1:\n- mm: x: changed: why\n", 2),
            ("A.\n\nchanges in V3\n- x\n\nChanges since v1:\n- y\n", 3),
            ("A.\n\nChanges since tag-1:\n- x\n", 1),
            ("A.\n\nChanges since v4294967295:\n", 1),
        ] {
            assert_eq!(version(cover), number, "{cover}");
        }
    }
}
