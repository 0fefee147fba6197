// SPDX-License-Identifier: GPL-2.0
//! `mail`: each part as a threaded mailbox that is proven to lead to the tested tree. Nothing is sent.

mod branch;
mod changelog;
mod prove;
mod summary;
mod thread;

use std::fs;
use std::path::Path;

use branch::{Branch, Person};
use prove::Goal;
use thread::Thread;

use crate::base::Base;
use crate::cache;
use crate::cli::{Cli, Command, MailArgs};
use crate::config::{BaseSource, Part};
use crate::context::Context;
use crate::error::{At, Error, Outcome, Result};
use crate::git;
use crate::header::Mail;
use crate::patches::{self, PartFiles};
use crate::progress;
use crate::run;
use crate::scripts;
use crate::stack::{self, PatchCommit, Stack};
use crate::toolchain::Toolchain;
use crate::written;

pub fn mail(ctx: &Context, args: &MailArgs) -> Result<Outcome> {
    let parts = patches::read(ctx)?;
    let chosen = chosen(&parts, args.part)?;
    if let Some(name) = &args.b4_branch {
        return b4_branches(ctx, args, &parts, &chosen, name);
    }
    let signer = args
        .signoff
        .then(|| identity(&ctx.repo, "--signoff"))
        .transpose()?
        .map(|person| person.to_string());
    let stack = stack::ensure(ctx)?;
    let base = base_lines(ctx, &stack, args.base_commit.as_deref())?;
    let out = match &args.out {
        Some(dir) => dir.clone(),
        None => ctx.cache.dir(format!("mail/{}", ctx.id()))?,
    };
    fs::create_dir_all(&out).at(&out)?;
    let mbox = |i: usize| out.join(format!("{}.mbox", parts[i].dir));
    let mut texts = Vec::new();
    for &i in chosen.iter().filter(|_| !args.verify) {
        let text = render(ctx, args, &stack, &parts, i, &base, signer.as_deref())?;
        if !args.force {
            may_replace(ctx, &mbox(i), &text)?;
        }
        texts.push((mbox(i), text));
    }
    for (mbox, text) in &texts {
        written::note(ctx, mbox, text.as_bytes())?;
        cache::write_whole(mbox, text.as_bytes())?;
    }
    for &i in &chosen {
        let mbox = mbox(i);
        prove(ctx, args, &stack, &parts, i, &mbox)?;
        outln!("{}", mbox.display());
        if !args.verify {
            print_maintainers(ctx, &stack.base, &parts[i])?;
        }
    }
    Ok(Outcome::Clean)
}

/// Fails if these bytes would replace somebody's work.
fn may_replace(ctx: &Context, mbox: &Path, text: &str) -> Result<()> {
    let refuse = |cause: &str| {
        let verify = "cargo series mail --verify, which proves it as it is";
        Err(Error::finding(mbox.display(), cause)
            .mend("move it away")
            .mend(verify)
            .mend("cargo series mail --force, which replaces it"))
    };
    match mbox.metadata() {
        Err(_) => return Ok(()),
        Ok(there) if !there.is_file() => return refuse("is there, and is no plain file"),
        Ok(_) => {}
    }
    let there = fs::read(mbox).at(mbox)?;
    if there == text.as_bytes() || written::is_known(ctx, mbox, &there)? {
        return Ok(());
    }
    refuse("is not as this tool left it: it may hold work of yours")
}

/// Prints whom MAINTAINERS names, for the person who sends. It is kept nowhere.
fn print_maintainers(ctx: &Context, base: &Base, part: &PartFiles) -> Result<()> {
    let Some(toolchain) = Toolchain::existing(ctx)? else {
        progress::note("no toolchain: get_maintainer.pl was not run");
        return Ok(());
    };
    if !scripts::has(base, scripts::GET_MAINTAINER)? {
        progress::note("the base has no get_maintainer.pl: it was not run");
        return Ok(());
    }
    outln!("  MAINTAINERS names, for To: and Cc: of {}:", part.dir);
    for line in scripts::maintainers(ctx, &toolchain, base, part)?.lines() {
        outln!("    {line}");
    }
    Ok(())
}

/// The indexes of the parts that are asked for.
fn chosen(parts: &[PartFiles], part: Option<usize>) -> Result<Vec<usize>> {
    let Some(n) = part else {
        return Ok((0..parts.len())
            .filter(|&i| !parts[i].patches.is_empty())
            .collect());
    };
    if (1..=parts.len()).contains(&n) && !parts[n - 1].patches.is_empty() {
        return Ok(vec![n - 1]);
    }
    Err(Error::config(
        format!("--part {n}"),
        "there is no such part, or it has no patches",
    )
    .mend(format!("--part 1 to --part {}", parts.len())))
}

fn render(
    ctx: &Context,
    args: &MailArgs,
    stack: &Stack,
    parts: &[PartFiles],
    i: usize,
    base: &str,
    signer: Option<&str>,
) -> Result<String> {
    let part = &parts[i];
    let cover = cover(part, args.version)?;
    let known = recipients(ctx, &part.dir);
    if known.to.is_empty() {
        progress::note(format_args!(
            "{}: series.toml has no to = for it, so the mails have no To:",
            part.dir
        ));
    }
    let files = part.patches.iter().map(parse).collect::<Result<Vec<_>>>()?;
    let trailers = format!(
        "{base}change-id: {}\n{}",
        thread::change_id(&part.dir),
        prerequisites(stack, &parts[..i])?
    );
    let thread = Thread {
        part: &part.dir,
        version: args.version,
        rfc: args.rfc,
        to: &known.to,
        cc: &known.cc,
        cover,
        summary: &summary::summary(&stack.base.git(), &onto(stack, parts, i), end(stack, part)?)?,
        trailers: &trailers,
        signer,
        patches: &files,
    };
    Ok(thread.mails().iter().map(Mail::render).collect())
}

/// The cover letter, which is of this version.
fn cover(part: &PartFiles, version: u32) -> Result<&str> {
    let place = part.cover_path();
    let cover = part.cover.as_deref().ok_or_else(|| {
        Error::finding(
            place.display(),
            "a part that is mailed needs a cover letter",
        )
        .mend("write it into the message of the part's cover commit, then cargo series refresh")
    })?;
    changelog::need(&place, cover, version)?;
    Ok(cover)
}

/// Each part as a branch for b4, next to the worktree's. `name` is empty where each part has its own.
fn b4_branches(
    ctx: &Context,
    args: &MailArgs,
    parts: &[PartFiles],
    chosen: &[usize],
    name: &str,
) -> Result<Outcome> {
    if !name.is_empty() && chosen.len() != 1 {
        return Err(Error::config(
            format!("--b4-branch {name}"),
            format!("is one name for {} parts", chosen.len()),
        )
        .mend(format!("--part N --b4-branch {name}"))
        .mend("--b4-branch without a name: each part then has its own"));
    }
    let committer = identity(&ctx.repo, "--b4-branch")?;
    let stack = stack::ensure(ctx)?;
    let git = stack.base.git();
    if let Some(id) = &args.base_commit {
        public_commit(ctx, &stack, id)?;
    } else {
        progress::note(
            "without --base-commit b4 names the commit before each part, which nobody else has",
        );
    }
    for &i in chosen {
        let branch = branch(ctx, args, &stack, parts, i, &committer)?;
        let name = match name {
            "" => format!("b4/{}", thread::slug(branch.part)),
            name => name.to_owned(),
        };
        if args.no_b4 {
            progress::note("b4: not run");
        } else {
            let step = progress::step_of("proving a branch", format_args!("proving {name}"));
            let goal = goal(&stack, &branch.onto, &parts[i])?;
            goal.b4_prep(&Toolchain::ensure(ctx)?, &branch)?;
            step.done();
        }
        branch::place(&git, &name, &branch.make(&git)?)?;
        outln!("{name}");
    }
    progress::note("git checkout BRANCH in the worktree of apply, then b4 prep --show-info");
    Ok(Outcome::Clean)
}

fn branch<'a>(
    ctx: &'a Context,
    args: &MailArgs,
    stack: &Stack,
    parts: &'a [PartFiles],
    i: usize,
    committer: &'a Person,
) -> Result<Branch<'a>> {
    let part = &parts[i];
    let known = recipients(ctx, &part.dir);
    let mut prerequisites: Vec<String> = prerequisites(stack, &parts[..i])?
        .lines()
        .map(|line| line.trim_start_matches("prerequisite-").to_owned())
        .collect();
    let base = args.base_commit.iter();
    prerequisites.extend(base.map(|id| format!("base-commit: {id}")));
    let of_part = |patch: &&PatchCommit| patch.part == part.dir;
    Ok(Branch {
        part: &part.dir,
        onto: onto(stack, parts, i),
        patches: stack.commits.iter().filter(of_part).cloned().collect(),
        cover: cover(part, args.version)?,
        to: &known.to,
        cc: &known.cc,
        version: args.version,
        rfc: args.rfc,
        prerequisites,
        committer,
        signoff: args.signoff,
    })
}

/// Every part as a mailbox and as a branch, proven and not kept. What comes of a part is told before the next is tried.
pub fn prove_each(
    ctx: &Context,
    toolchain: &Toolchain,
    stack: &Stack,
    mut tell: impl FnMut(&str, Result<()>),
) -> Result<()> {
    let parts = patches::read(ctx)?;
    for i in chosen(&parts, None)? {
        tell(
            &parts[i].dir,
            prove_unkept(ctx, toolchain, stack, &parts, i),
        );
    }
    Ok(())
}

fn prove_unkept(
    ctx: &Context,
    toolchain: &Toolchain,
    stack: &Stack,
    parts: &[PartFiles],
    i: usize,
) -> Result<()> {
    let part = &parts[i];
    let mut args = plain_arguments();
    args.version = changelog::version(part.cover.as_deref().unwrap_or_default());
    let committer = Person {
        name: git::NAME.to_owned(),
        email: git::EMAIL.to_owned(),
    };
    let base = base_lines(ctx, stack, None)?;
    let dir = tempfile::tempdir().at("temporary folder")?;
    let mbox = dir.path().join(format!("{}.mbox", part.dir));
    let text = render(ctx, &args, stack, parts, i, &base, None)?;
    fs::write(&mbox, text).at(&mbox)?;
    let branch = branch(ctx, &args, stack, parts, i, &committer)?;
    let step = progress::step(format_args!("proving the mails of {}", part.dir));
    let goal = goal(stack, &branch.onto, part)?;
    goal.git_am(&mbox)?;
    goal.b4(toolchain, &mbox)?;
    goal.b4_prep(toolchain, &branch)?;
    step.done();
    Ok(())
}

/// `mail` without any option.
fn plain_arguments() -> MailArgs {
    use clap::Parser;
    match Cli::parse_from(["series", "mail"]).command {
        Command::Mail(args) => args,
        _ => unreachable!("mail was asked for"),
    }
}

/// Where a part starts and must lead.
fn goal<'a>(stack: &'a Stack, onto: &'a str, part: &'a PartFiles) -> Result<Goal<'a>> {
    Ok(Goal {
        base: &stack.base,
        onto,
        tree: stack::tree_of(&stack.base.git(), end(stack, part)?)?,
        part,
    })
}

fn parse(patch: &patches::PatchFile) -> Result<Mail> {
    Mail::parse(&String::from_utf8_lossy(&patch.bytes)).map_err(|cause| {
        Error::finding(patch.path.display(), cause)
            .mend("write the patch with cargo series refresh")
    })
}

fn recipients<'a>(ctx: &'a Context, dir: &str) -> &'a Part {
    let part = ctx.config.parts.iter().find(|part| part.dir == dir);
    part.expect("parts are read from series.toml")
}

/// The last commit before a part.
fn onto(stack: &Stack, parts: &[PartFiles], i: usize) -> String {
    let before: usize = parts[..i].iter().map(|part| part.patches.len()).sum();
    match before {
        0 => stack.base.commit.clone(),
        n => stack.commits[n - 1].id.clone(),
    }
}

/// The commit of a part's last patch.
fn end<'a>(stack: &'a Stack, part: &PartFiles) -> Result<&'a str> {
    let last = stack.commits.iter().rfind(|patch| patch.part == part.dir);
    last.map(|patch| patch.id.as_str())
        .ok_or_else(|| Error::finding(&part.dir, "has no patches"))
}

/// The parts before, as b4 names them.
fn prerequisites(stack: &Stack, before: &[PartFiles]) -> Result<String> {
    let git = stack.base.git();
    let mut lines = String::new();
    for part in before.iter().filter(|part| !part.patches.is_empty()) {
        let change = thread::change_id(&part.dir);
        // It may have been sent more or less often than the part that needs it.
        let version = changelog::version(part.cover.as_deref().unwrap_or_default());
        lines += &format!("prerequisite-change-id: {change}:v{version}\n");
        for patch in &part.patches {
            let said = git.run_with_input(&["patch-id", "--stable"], &patch.bytes)?;
            let id = said.split(' ').next().unwrap_or_default();
            if id.is_empty() {
                return Err(Error::finding(
                    patch.path.display(),
                    "has no patch id: it changes nothing",
                )
                .mend("drop it in the worktree of cargo series apply, then cargo series refresh"));
            }
            lines += &format!("prerequisite-patch-id: {id}\n");
        }
    }
    Ok(lines)
}

/// What the patches apply to, in words that mean something to whoever gets the mail.
fn base_lines(ctx: &Context, stack: &Stack, commit: Option<&str>) -> Result<String> {
    if let Some(id) = commit {
        public_commit(ctx, stack, id)?;
        return Ok(format!("base-commit: {id}\n"));
    }
    let (name, source) = ctx.config.base();
    let package = match source {
        BaseSource::Debian(source) => format!(" ({} {})", source.package, source.version),
        BaseSource::Git(_) => String::new(),
    };
    Ok(format!(
        "Based on Linux {name}{package}\nbase-tree: {}\n",
        stack.base.tree
    ))
}

/// A commit id of our own making means nothing to anybody else.
fn public_commit(ctx: &Context, stack: &Stack, id: &str) -> Result<()> {
    let place = format!("--base-commit {id}");
    let hint = "leave it out: the cover letter then names the release and the tree";
    if id.len() != 40 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Error::config(place, "is no whole commit id")
            .mend("git rev-parse TAG^{commit} in a kernel tree")
            .mend(hint));
    }
    if ctx.config.base_is_packaged() && id == stack.base.commit {
        return Err(Error::config(
            place,
            "is a commit that this tool made from a package; nobody else has it",
        )
        .mend(hint));
    }
    let git = stack.base.git();
    match git.resolve(&format!("{id}^{{commit}}"))? {
        Some(known) if stack::tree_of(&git, &known)? != stack.base.tree => {
            Err(Error::config(place, "has another tree than the base of series.toml").mend(hint))
        }
        Some(_) => Ok(()),
        None => {
            progress::note(format_args!("{place}: not known here, so taken on trust"));
            Ok(())
        }
    }
}

fn prove(
    ctx: &Context,
    args: &MailArgs,
    stack: &Stack,
    parts: &[PartFiles],
    i: usize,
    mbox: &Path,
) -> Result<()> {
    if !mbox.is_file() {
        return Err(Error::config(mbox.display(), "there is no such file")
            .mend("cargo series mail, which writes it"));
    }
    let onto = onto(stack, parts, i);
    let goal = goal(stack, &onto, &parts[i])?;
    let step = progress::step_of("proving", format_args!("proving {}", mbox.display()));
    if args.no_b4 {
        progress::note("b4: not run");
    } else {
        goal.b4(&Toolchain::ensure(ctx)?, mbox)?;
    }
    goal.git_am(mbox)?;
    step.done();
    Ok(())
}

/// Whoever runs this, as git knows them in this repository.
fn identity(repo: &Path, option: &str) -> Result<Person> {
    let get = |key: &str| -> Result<String> {
        let mut command = std::process::Command::new("git");
        command.arg("-C").arg(repo).args(["config", "--get", key]);
        let output = run::capture(&mut command)?;
        let value = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if value.is_empty() {
            return Err(Error::config(option, format!("git has no {key}"))
                .mend(format!("git config {key} ...")));
        }
        Ok(value)
    };
    Ok(Person {
        name: get("user.name")?,
        email: get("user.email")?,
    })
}
