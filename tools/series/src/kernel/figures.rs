// SPDX-License-Identifier: GPL-2.0
//! Figures that programs print in guests, "# figures: calls=12 refused=3", summed by their names; and the allocations
//! that selftests made fail.

/// In front of the number of the last allocation that failed: all up to it did, one after the other.
const LAST_FAULT: &str = "the last of them was allocation ";

/// In the order in which they were first heard.
#[derive(Debug, Default)]
pub struct Figures(Vec<(String, u64)>);

impl Figures {
    /// Adds what the programs of a guest printed.
    pub fn add(&mut self, results: &str) {
        for line in results.lines().map(|line| line.trim_end_matches('\r')) {
            if let Some(figures) = line.strip_prefix("# figures: ") {
                for (name, number) in figures.split_whitespace().filter_map(figure) {
                    self.count(name, number);
                }
            } else if let Some((_, last)) = line.split_once(LAST_FAULT)
                && let Ok(number) = last.parse()
            {
                self.count("faults", number);
            }
        }
    }

    fn count(&mut self, name: &str, number: u64) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, sum)) => *sum += number,
            None => self.0.push((name.to_owned(), number)),
        }
    }

    /// "in all: 12 calls, 3 refused"; empty, if there are none.
    pub fn line(&self) -> String {
        let words: Vec<String> = self
            .0
            .iter()
            .map(|(name, sum)| format!("{sum} {name}"))
            .collect();
        match words.as_slice() {
            [] => String::new(),
            words => format!("in all: {}", words.join(", ")),
        }
    }

    /// Prints that line, if there is one.
    pub fn say(&self) {
        let line = self.line();
        if !line.is_empty() {
            outln!("{line}");
        }
    }
}

/// "calls=12"
fn figure(text: &str) -> Option<(&str, u64)> {
    let (name, number) = text.split_once('=')?;
    Some((name, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_all_guests_are_summed() {
        let mut figures = Figures::default();
        assert_eq!(figures.line(), "");
        figures.add("ok 1 a\r\n# figures: calls=3 refused=1\r\n# figures: calls=4\r\n");
        figures.add("# figures: rounds=5 calls=10 left=many x\n# other: calls=1\n");
        assert_eq!(figures.line(), "in all: 17 calls, 1 refused, 5 rounds");
    }

    #[test]
    fn allocations_that_failed_are_summed_too() {
        let mut figures = Figures::default();
        figures
            .add("# udmabuf_fail_nth.c:442:create:the last of them was allocation 37\r\nok 1 a\n");
        figures.add("# udmabuf_fail_nth.c:502:use:the last of them was allocation 5\n");
        figures.add("# figures: rounds=2\n# figures: programs=3\n# figures: rounds=4\n");
        assert_eq!(figures.line(), "in all: 42 faults, 6 rounds, 3 programs");
    }
}
