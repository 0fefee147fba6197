// SPDX-License-Identifier: GPL-2.0
//! One part as a thread of mails, whose bytes depend on nothing but what is given here.

use sha2::{Digest, Sha256};

use crate::context::hex;
use crate::header::{Mail, encode, encode_address};

/// What one part's thread is made of.
#[derive(Debug)]
pub struct Thread<'a> {
    /// The part's folder.
    pub part: &'a str,
    pub version: u32,
    pub rfc: bool,
    pub to: &'a [String],
    pub cc: &'a [String],
    /// First line subject, the rest below an empty line.
    pub cover: &'a str,
    /// Authors, subjects and a diffstat.
    pub summary: &'a str,
    /// "base-commit: ..." and the like, in lines.
    pub trailers: &'a str,
    /// "Name <address>", if a Signed-off-by shall be added.
    pub signer: Option<&'a str>,
    /// Patch files.
    pub patches: &'a [Mail],
}

impl Thread<'_> {
    /// The cover letter and the patches.
    pub fn mails(&self) -> Vec<Mail> {
        let count = self.patches.len();
        let mut mails = vec![self.cover_mail()];
        mails.extend(self.patches.iter().map(|patch| self.patch_mail(patch)));
        for (i, mail) in mails.iter_mut().enumerate() {
            let subject = mail.header("Subject").unwrap_or_default();
            mail.set("Subject", format!("{} {subject}", self.prefix(i, count)));
            for (name, addresses) in [("To", self.to), ("Cc", self.cc)] {
                let addresses: Vec<String> = addresses.iter().map(|a| encode_address(a)).collect();
                if !addresses.is_empty() {
                    mail.set(name, addresses.join(", "));
                }
            }
        }
        self.link(&mut mails);
        mails
    }

    /// "[RFC PATCH v2 3/8]"; a number is as wide as the last one, so that mails sort.
    fn prefix(&self, i: usize, count: usize) -> String {
        let rfc = if self.rfc { "RFC " } else { "" };
        let version = match self.version {
            1 => String::new(),
            n => format!(" v{n}"),
        };
        let width = count.to_string().len();
        format!("[{rfc}PATCH{version} {i:0width$}/{count}]")
    }

    fn cover_mail(&self) -> Mail {
        let (subject, body) = self.cover.split_once('\n').unwrap_or((self.cover, ""));
        let first = self.patches.first();
        let header = |name: &str| first.and_then(|p| p.header(name)).unwrap_or_default();
        let from = self
            .signer
            .map_or_else(|| header("From").to_owned(), encode_address);
        let date = self.patches.last().and_then(|p| p.header("Date"));
        let headers = [
            ("From", from.as_str()),
            ("Date", date.unwrap_or_default()),
            ("Subject", &encode(subject.trim())),
            ("MIME-Version", "1.0"),
            ("Content-Type", "text/plain; charset=UTF-8"),
            ("Content-Transfer-Encoding", "8bit"),
        ];
        Mail {
            headers: headers.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec(),
            // As git makes them: behind a line "---", git am --empty=drop would look for a patch.
            body: format!(
                "{}\n\n{}\n\n{}",
                body.trim(),
                self.summary.trim_end(),
                self.trailers
            ),
        }
    }

    fn patch_mail(&self, patch: &Mail) -> Mail {
        let mut mail = patch.clone();
        let subject = mail.header("Subject").unwrap_or_default();
        let plain = subject.strip_prefix("[PATCH]").unwrap_or(subject);
        let plain = plain.trim().to_owned();
        mail.set("Subject", plain);
        if let Some(signer) = self.signer {
            mail.body = signed_off(&mail.body, signer);
        }
        mail
    }

    /// Message-IDs from everything that the thread holds: another word gives another thread.
    fn link(&self, mails: &mut [Mail]) {
        let mut hash = Sha256::new();
        for mail in mails.iter() {
            let text = mail.render();
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        let digest = &hex(&hash.finalize())[..12];
        let domain = domain(mails[0].header("From").unwrap_or_default()).to_owned();
        let id = |i: usize| {
            format!(
                "<{}-v{}-{i}-{digest}@{domain}>",
                slug(self.part),
                self.version
            )
        };
        for (i, mail) in mails.iter_mut().enumerate() {
            mail.set("Message-ID", id(i));
            if i > 0 {
                mail.set("In-Reply-To", id(0));
                mail.set("References", id(0));
            }
        }
    }
}

/// The name under which all versions of a part are found: it must not change with the patches.
pub fn change_id(part: &str) -> String {
    let digest = hex(&Sha256::digest(format!("change-id {part}")));
    format!("{}-{}", slug(part), &digest[..12])
}

/// A part's name without its number: "1-fixes" is "fixes".
pub fn slug(part: &str) -> &str {
    let name = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == '-');
    if name.is_empty() { part } else { name }
}

/// What stands behind the @ of an address.
fn domain(from: &str) -> &str {
    from.rsplit_once('@')
        .map(|(_, domain)| domain.trim_end_matches('>'))
        .filter(|domain| !domain.is_empty())
        .unwrap_or("localhost")
}

/// A mail's body with the line below its message.
fn signed_off(body: &str, signer: &str) -> String {
    let (message, rest) = body.split_once("\n---\n").unwrap_or((body, ""));
    let message = with_signature(message.trim_end(), signer);
    format!("{message}\n---\n{rest}")
}

/// Adds the line below a message, next to the trailers that are there, unless it is one of them.
pub fn with_signature(message: &str, signer: &str) -> String {
    let line = format!("Signed-off-by: {signer}");
    if message.lines().any(|known| known == line) {
        return message.to_owned();
    }
    let last = message.rsplit("\n\n").next().unwrap_or_default();
    let trailer = |line: &str| {
        line.split_once(": ").is_some_and(|(name, _)| {
            name.contains('-') && name.chars().all(|c| c.is_ascii_alphabetic() || c == '-')
                || ["Fixes", "Link", "Closes", "Cc"].contains(&name)
        })
    };
    let gap = if !last.is_empty() && last.lines().all(trailer) {
        "\n"
    } else {
        "\n\n"
    };
    format!("{message}{gap}{line}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(subject: &str) -> Mail {
        let text = format!(
            "From 0 Mon Sep 17 00:00:00 2001\nFrom: A <a@b.example>\nDate: Thu, 1 Jan 2026 00:00:00 +0000\n\
             Subject: [PATCH] {subject}\n\nWhy.\n---\n a | 1 +\n\ndiff --git a/a b/a\n"
        );
        Mail::parse(&text).unwrap()
    }

    fn thread(cover: &str, version: u32, signer: Option<&str>) -> Vec<Mail> {
        let patches = [patch("mm: one"), patch("mm: two")];
        Thread {
            part: "1-fixes",
            version,
            rfc: version == 3,
            to: &["linux-mm@kvack.org".to_owned()],
            cc: &[],
            cover,
            summary: "A (2):\n",
            trailers: "change-id: x\n",
            signer,
            patches: &patches,
        }
        .mails()
    }

    #[test]
    fn subjects_are_numbered() {
        let subjects = |version| -> Vec<String> {
            let mails = thread("Fixes\n\nText.\n", version, None);
            mails
                .iter()
                .map(|m| m.header("Subject").unwrap().to_owned())
                .collect()
        };
        assert_eq!(
            subjects(1),
            [
                "[PATCH 0/2] Fixes",
                "[PATCH 1/2] mm: one",
                "[PATCH 2/2] mm: two"
            ]
        );
        assert_eq!(subjects(2)[1], "[PATCH v2 1/2] mm: one");
        assert_eq!(subjects(3)[2], "[RFC PATCH v3 2/2] mm: two");
    }

    #[test]
    fn message_ids_depend_on_every_word_and_on_nothing_else() {
        let id = |cover| {
            thread(cover, 1, None)[0]
                .header("Message-ID")
                .unwrap()
                .to_owned()
        };
        assert_eq!(id("Fixes\n\nText.\n"), id("Fixes\n\nText.\n"));
        assert_ne!(id("Fixes\n\nText.\n"), id("Fixes\n\nTest.\n"));
        assert!(id("Fixes").ends_with("@b.example>"));
    }

    #[test]
    fn patches_answer_the_cover_letter() {
        let mails = thread("Fixes\n", 1, None);
        let cover = mails[0].header("Message-ID").unwrap();
        assert!(mails[0].header("In-Reply-To").is_none());
        for patch in &mails[1..] {
            assert_eq!(patch.header("In-Reply-To"), Some(cover));
            assert_eq!(patch.header("References"), Some(cover));
            assert_ne!(patch.header("Message-ID"), Some(cover));
        }
        assert_ne!(mails[1].header("Message-ID"), mails[2].header("Message-ID"));
    }

    #[test]
    fn a_signature_stands_with_the_trailers() {
        let s = "B <b@c>";
        assert_eq!(
            signed_off("Why.\n---\n a | 1 +\n", s),
            "Why.\n\nSigned-off-by: B <b@c>\n---\n a | 1 +\n"
        );
        let fixes = "Why.\n\nFixes: 0123456789ab (\"mm: x\")";
        let signed = signed_off(&format!("{fixes}\n---\nrest\n"), s);
        assert_eq!(
            signed,
            format!("{fixes}\nSigned-off-by: B <b@c>\n---\nrest\n")
        );
        assert_eq!(signed_off(&signed, s), signed);
    }

    #[test]
    fn the_signer_sends_the_cover_letter() {
        let mails = thread("Fixes\n", 1, Some("B <b@c.example>"));
        assert_eq!(mails[0].header("From"), Some("B <b@c.example>"));
        assert_eq!(mails[1].header("From"), Some("A <a@b.example>"));
        assert!(
            mails[1]
                .body
                .contains("Signed-off-by: B <b@c.example>\n---\n")
        );
    }

    #[test]
    fn a_change_id_is_the_parts_own() {
        assert!(change_id("2-pin-user-pages-fd").starts_with("pin-user-pages-fd-"));
        assert_ne!(change_id("1-fixes"), change_id("2-fixes"));
    }
}
