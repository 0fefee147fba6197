// SPDX-License-Identifier: GPL-2.0
//! `check`: do patches, mirrored files and messages agree, and do they have the form that maintainers ask for?
//!
//! Nothing is built. What compares patches with mirrored files needs no kernel: patches carry whole blob ids.

mod b4;
mod blobs;
mod message;
mod tools;

use std::path::PathBuf;

use crate::cli::CheckArgs;
use crate::context::Context;
use crate::error::{Error, Outcome, Result};
use crate::patches::{self, Patch};

/// A patch that can be read.
struct Named {
    path: PathBuf,
    bytes: Vec<u8>,
    patch: Patch,
}

/// What is looked at.
struct Subject<'a> {
    ctx: &'a Context,
    patches: Vec<Named>,
    /// What is wrong with patches that cannot be read, and with folders that nobody reads.
    unread: Vec<String>,
}

/// One thing to look at.
pub struct Check {
    pub name: &'static str,
    look: fn(&Subject) -> Result<Vec<String>>,
    /// Why it cannot look, where something is not there.
    blind: fn(&Subject) -> Result<Option<String>>,
    mend: Option<&'static str>,
    /// Whether it looks at each patch by itself.
    alone: bool,
}

/// It can always look.
const SEES: fn(&Subject) -> Result<Option<String>> = |_| Ok(None);

const REFRESH: Option<&str> =
    Some("cargo series refresh writes patches and mirrored files from the worktree");

/// What needs neither toolchain nor kernel.
const PLAIN: [Check; 6] = [
    Check {
        name: "patches can be read",
        look: |subject| Ok(subject.unread.clone()),
        blind: SEES,
        mend: None,
        alone: false,
    },
    Check {
        name: "messages",
        look: message::all,
        blind: SEES,
        mend: None,
        alone: true,
    },
    Check {
        name: "tags that somebody has to give",
        look: message::given,
        blind: SEES,
        mend: None,
        alone: false,
    },
    Check {
        name: "whole blob ids",
        look: |subject| Ok(blobs::whole_ids(&subject.patches)),
        blind: SEES,
        mend: REFRESH,
        alone: false,
    },
    Check {
        name: "index lines",
        look: blobs::index_lines,
        blind: SEES,
        mend: REFRESH,
        alone: true,
    },
    Check {
        name: "mirrored files",
        look: blobs::mirrored,
        blind: SEES,
        mend: REFRESH,
        alone: false,
    },
];

/// What the kernel's own scripts say.
const WITH_TOOLS: [Check; 4] = [
    Check {
        name: "spelling",
        look: tools::spelling,
        blind: SEES,
        mend: None,
        alone: true,
    },
    Check {
        name: "checkpatch",
        look: tools::checkpatch,
        blind: SEES,
        mend: None,
        alone: true,
    },
    Check {
        name: "kernel-doc",
        look: tools::kernel_doc,
        blind: tools::without_kernel_doc,
        mend: None,
        alone: false,
    },
    Check {
        name: "recipients",
        look: tools::recipients,
        blind: tools::without_get_maintainer,
        mend: Some("to = or cc = of that part in series.toml"),
        alone: false,
    },
];

/// The last of them: those with tools have fetched the base.
const MADE: [Check; 1] = [Check {
    name: "what patches make of the base",
    look: blobs::made,
    blind: blobs::without_base,
    mend: None,
    alone: false,
}];

pub fn check(ctx: &Context, args: &CheckArgs) -> Result<Outcome> {
    let tools: &[Check] = if args.no_checkpatch { &[] } else { &WITH_TOOLS };
    let checks = PLAIN.iter().chain(tools).chain(&MADE);
    if args.b4_json {
        return b4::one_mail(ctx, checks);
    }
    let mut count = 0;
    let mut outcome = Outcome::Clean;
    let subject = Subject::read(ctx)?;
    for check in checks {
        if let Some(why) = (check.blind)(&subject)? {
            outln!("not run: {}: {why}", check.name);
            outcome = Outcome::NotRun;
            continue;
        }
        let findings = (check.look)(&subject)?;
        for finding in &findings {
            outln!("{finding}");
        }
        if let (Some(mend), false) = (check.mend, findings.is_empty()) {
            outln!("mend: {mend}");
        }
        count += findings.len();
    }
    outln!("check: {} patches, {count} findings", subject.patches.len());
    Ok(if count == 0 {
        outcome
    } else {
        Outcome::Findings
    })
}

/// All checks by their names, each with what it finds when its turn comes, or why it cannot look.
pub fn each(ctx: &Context) -> Result<impl Iterator<Item = (&'static str, Result<Vec<String>>)>> {
    let subject = Subject::read(ctx)?;
    let all = PLAIN.iter().chain(&WITH_TOOLS).chain(&MADE);
    Ok(all.map(move |check| (check.name, check.findings(&subject))))
}

impl Check {
    fn findings(&self, subject: &Subject) -> Result<Vec<String>> {
        match (self.blind)(subject)? {
            Some(why) => Err(Error::environment(self.name, why)),
            None => (self.look)(subject),
        }
    }
}

impl<'a> Subject<'a> {
    fn read(ctx: &'a Context) -> Result<Self> {
        let unknown = patches::unknown_parts(ctx)?;
        let mut subject = Subject {
            ctx,
            patches: Vec::new(),
            unread: unknown
                .iter()
                .map(|part| format!("patches/{part}: series.toml names no such part"))
                .collect(),
        };
        for file in patches::read(ctx)?
            .into_iter()
            .flat_map(|part| part.patches)
        {
            match file.parse() {
                Ok(patch) => subject.patches.push(Named {
                    path: file.path,
                    bytes: file.bytes,
                    patch,
                }),
                Err(e) => subject.unread.push(e.summary()),
            }
        }
        Ok(subject)
    }
}
