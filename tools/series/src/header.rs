// SPDX-License-Identifier: GPL-2.0
//! The head of a mail: what a patch file has of it, and what a thread adds.

use std::fmt::Write;

/// Lines longer than this are folded where they can be.
const WIDTH: usize = 76;

/// Around what is not ASCII (RFC 2047).
const START: &str = "=?UTF-8?q?";
const END: &str = "?=";

/// How long such a word is at most. The standard has 75, and no more in a line with it than [`WIDTH`]: "Subject: " may
/// stand before it.
const ENCODED: usize = 66;

/// A mail as its unfolded headers, in order, and everything below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Mail {
    /// Reads a patch file: a line "From <id> <date>", headers, an empty line, the rest.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (head, body) = text
            .split_once("\n\n")
            .ok_or("no empty line after the mail's headers")?;
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in head.lines().filter(|line| !line.starts_with("From ")) {
            if line.starts_with([' ', '\t']) {
                let (_, last) = headers.last_mut().ok_or("the first header has no name")?;
                last.push(' ');
                last.push_str(line.trim());
            } else {
                let (name, value) = line
                    .split_once(':')
                    .ok_or_else(|| format!("{line:?} is no header"))?;
                headers.push((name.to_owned(), value.trim().to_owned()));
            }
        }
        Ok(Mail {
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
    let words: Vec<&str> = text.split(' ').collect();
    // A reader drops the blank between two encoded words: what is side by side is encoded as one text.
    let runs = words.chunk_by(|a, b| a.is_ascii() == b.is_ascii());
    let runs: Vec<String> = runs.map(|run| encode_run(&run.join(" "))).collect();
    runs.join(" ")
}

/// A text as encoded words, unless it is ASCII.
fn encode_run(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    let mut encoded = START.to_owned();
    let mut start = 0;
    for c in text.chars() {
        let letter = encode_char(c);
        if encoded.len() - start + letter.len() + END.len() > ENCODED {
            encoded += END;
            encoded.push(' ');
            start = encoded.len();
            encoded += START;
        }
        encoded += &letter;
    }
    encoded + END
}

fn encode_char(c: char) -> String {
    if c.is_ascii_alphanumeric() {
        return c.to_string();
    }
    let mut encoded = String::new();
    for byte in c.encode_utf8(&mut [0; 4]).bytes() {
        write!(encoded, "={byte:02X}").expect("a string takes all");
    }
    encoded
}

/// "Name <address>" in ASCII. A name that is encoded needs no quotes.
pub fn encode_address(address: &str) -> String {
    match address.rsplit_once(" <") {
        Some((name, rest)) if !name.is_ascii() => {
            format!("{} <{rest}", encode(name.trim_matches('"')))
        }
        _ => address.to_owned(),
    }
}

/// A header's text as git encodes it, for a person.
pub fn decode(text: &str) -> String {
    let mut decoded: Vec<u8> = Vec::new();
    let mut before = None;
    for word in text.split(' ') {
        let bytes = decode_word(word);
        if before.is_some_and(|encoded| !(encoded && bytes.is_some())) {
            decoded.push(b' ');
        }
        before = Some(bytes.is_some());
        decoded.extend(bytes.unwrap_or_else(|| word.as_bytes().to_vec()));
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// The bytes of an encoded word, if it is one.
fn decode_word(word: &str) -> Option<Vec<u8>> {
    let (start, text) = word.split_at_checked(START.len())?;
    let text = text.strip_suffix(END)?;
    if !start.eq_ignore_ascii_case(START) {
        return None;
    }
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        rest = more;
        bytes.push(match first {
            b'_' => b' ',
            b'=' => {
                let (digits, more) = rest.split_at_checked(2)?;
                rest = more;
                u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?
            }
            plain => *plain,
        });
    }
    Some(bytes)
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
        assert_eq!(encode("by Zoë there"), "by =?UTF-8?q?Zo=C3=AB?= there");
        assert_eq!(
            encode_address("\"Zoë Äß\" <z@x.org>"),
            "=?UTF-8?q?Zo=C3=AB=20=C3=84=C3=9F?= <z@x.org>"
        );
        for plain in ["linux-mm@kvack.org", "\"A, B\" <a@b>"] {
            assert_eq!(encode_address(plain), plain);
        }
    }

    #[test]
    fn what_is_encoded_is_decoded_and_no_word_is_too_long() {
        let long = "ä".repeat(200);
        for text in [
            "plain",
            "Zoë Äß",
            "ä b ö ü c",
            " ä  ö ",
            "50 % = ½ ?",
            &long,
        ] {
            let encoded = encode(text);
            assert!(encoded.is_ascii(), "{encoded}");
            assert_eq!(decode(&encoded), text, "{encoded}");
            let longest = encoded.split(' ').map(str::len).max();
            assert!(longest <= Some(ENCODED), "{encoded}");
        }
        // As git writes it, and what only looks like it.
        let git = "=?UTF-8?q?mm:=20sp=C3=A4t?= =?utf-8?Q?er_=3D?= (x)";
        assert_eq!(decode(git), "mm: später = (x)");
        for plain in ["=?UTF-8?q?=C?=", "=?UTF-8?q?a", "=?x?="] {
            assert_eq!(decode(plain), plain);
        }
    }

    #[test]
    fn what_is_no_mail_is_refused() {
        assert!(Mail::parse("no empty line").is_err());
        assert!(Mail::parse(" folded first\n\nbody").is_err());
    }
}
