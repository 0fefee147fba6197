// SPDX-License-Identifier: GPL-2.0
//! The head of a mail: what a patch file has of it, and what a thread adds.

/// Lines longer than this are folded where they can be.
const WIDTH: usize = 76;

/// A mail as its unfolded headers, in order, and everything below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Mail {
    /// Reads a patch file: a line "From <id> <date>", headers, an empty line, the rest.
    pub fn parse(text: &str) -> Option<Self> {
        let (head, body) = text.split_once("\n\n")?;
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in head.lines().filter(|line| !line.starts_with("From ")) {
            if line.starts_with([' ', '\t']) {
                let last = &mut headers.last_mut()?.1;
                last.push(' ');
                last.push_str(line.trim());
            } else {
                let (name, value) = line.split_once(':')?;
                headers.push((name.to_owned(), value.trim().to_owned()));
            }
        }
        Some(Mail {
            headers,
            body: body.to_owned(),
        })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Replaces a header, or adds it at the end.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        let value = value.into();
        match self.headers.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.headers.push((name.to_owned(), value)),
        }
    }

    /// As one message of an mbox.
    pub fn render(&self) -> String {
        // git and b4 take the line for a separator; the date in it has no meaning.
        let mut text = String::from("From mboxrd@z Thu Jan  1 00:00:00 1970\n");
        for (name, value) in &self.headers {
            text += &fold(&format!("{name}: {value}"));
            text.push('\n');
        }
        text.push('\n');
        text += self.body.trim_end_matches('\n');
        text += "\n\n";
        text
    }
}

/// Breaks a header at blanks; a word that is too long stays whole.
fn fold(line: &str) -> String {
    let mut text = String::new();
    let mut width = 0;
    for (i, word) in line.split(' ').enumerate() {
        // Not all readers take a value that starts in the second line.
        if i > 1 && width + 1 + word.len() > WIDTH {
            text += "\n ";
            width = 1;
        } else if width > 0 {
            text.push(' ');
            width += 1;
        }
        text += word;
        width += word.len();
    }
    text
}

/// A header's text in ASCII.
pub fn encode(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    text.split(' ')
        .map(encode_word)
        .collect::<Vec<_>>()
        .join(" ")
}

fn encode_word(word: &str) -> String {
    if word.is_ascii() {
        return word.to_owned();
    }
    let bytes: String = word.bytes().map(|b| format!("={b:02X}")).collect();
    format!("=?UTF-8?q?{bytes}?=")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str =
        "From 0000 Mon Sep 17 00:00:00 2001\nFrom: A <a@b>\nSubject: [PATCH] mm: a\n b\n\nbody\n";

    #[test]
    fn headers_are_unfolded_and_folded_again() {
        let mut mail = Mail::parse(PATCH).unwrap();
        assert_eq!(mail.header("subject"), Some("[PATCH] mm: a b"));
        let long = format!("[PATCH v2 3/8] mm: {}", "word ".repeat(20));
        mail.set("Subject", long.trim());
        let text = mail.render();
        assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
        assert_eq!(
            Mail::parse(&text).unwrap().header("Subject"),
            Some(long.trim())
        );
    }

    #[test]
    fn a_header_is_ascii() {
        assert_eq!(encode("plain text"), "plain text");
        assert_eq!(encode("by Zoë there"), "by =?UTF-8?q?=5A=6F=C3=AB?= there");
    }

    #[test]
    fn what_is_no_mail_is_refused() {
        assert!(Mail::parse("no empty line").is_none());
        assert!(Mail::parse(" folded first\n\nbody").is_none());
    }
}
