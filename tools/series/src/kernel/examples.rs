// SPDX-License-Identifier: GPL-2.0
//! Examples in the documentation of the kernel crate that must not compile: each is compiled, and has to be refused for
//! the error that it names.
//!
//! The kernel turns the other examples into KUnit tests, and passes over these, which are marked
//! `ignore,compile_fail,E0277`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::build::{self, Source};
use crate::cli::Driver;
use crate::context::{Context, short_hash};
use crate::error::{At, Error, Result};
use crate::progress;
use crate::run;
use crate::toolchain::Toolchain;
use crate::worktree;

/// What is compiled with the options of an example: a driver sees of the kernel crate what an example sees.
const DRIVER: &str = "drivers/dma-buf/udmabuf_rust.o";

/// Where the examples are, in the objects.
const FOLDER: &str = "series-examples";

/// Stands at the end of each example: `#[vtable]` asks for the module that it is in.
const MODULE: &str = "
struct LocalModule;

impl ::kernel::ModuleMetadata for LocalModule {
    const NAME: &'static ::kernel::str::CStr = c\"example\";
    const THIS_MODULE: ::kernel::ThisModule =
        unsafe { ::kernel::ThisModule::from_ptr(::core::ptr::null_mut()) };
}
";

/// How they are found, compiled and judged, to the letter.
const HOW: &str = include_str!("examples.rs");

#[derive(Debug, PartialEq, Eq)]
struct Example {
    /// The file and line of the mark.
    place: String,
    /// "E0277"
    code: String,
    text: String,
}

/// How many of them there are, all refused as they should be. Compiled now unless that was done before.
pub fn check(ctx: &Context, toolchain: &Toolchain, source: &Source) -> Result<usize> {
    let lane = ctx.config.kernel.lane(None)?;
    let key = build::key(toolchain, source, Driver::Rust, lane);
    let key = short_hash(format!("{key} {HOW}").as_bytes());
    let kept = ctx.cache.dir("examples")?.join(key);
    if let Some(number) = fs::read_to_string(&kept).ok().and_then(|n| n.parse().ok()) {
        return Ok(number);
    }
    let _lock = ctx.cache.lock("build")?;
    let tree = worktree::at(ctx, &source.commit)?;
    let examples = find(&tree)?;
    if examples.is_empty() {
        return Err(
            Error::finding("rust/kernel", "has no example that must not compile")
                .mend("mark them: ```ignore,compile_fail,E0277"),
        );
    }
    let built = build::run_make(
        ctx,
        toolchain,
        source,
        Driver::Rust,
        lane,
        &[DRIVER],
        build::From::LastBuild,
    )?;
    let options = options(&built.objects)?;
    let folder = built.objects.join(FOLDER);
    fs::create_dir_all(&folder).at(&folder)?;

    let step = progress::step(format_args!(
        "compiling {} examples that must not compile",
        examples.len()
    ));
    let mut wrong = Vec::new();
    for (i, example) in examples.iter().enumerate() {
        let file = folder.join(format!("example_{i}.rs"));
        fs::write(&file, format!("{}{MODULE}", example.text)).at(&file)?;
        let mut command = toolchain.command(&[(&tree, "/src"), (&built.objects, "/obj")], "sh");
        command.args(["-c", &compile(&options, i)]);
        wrong.extend(judge(example, &mut command)?);
    }
    if !wrong.is_empty() {
        return Err(
            Error::finding("examples that must not compile", wrong.join("\n"))
                .mend("mend these examples of rust/kernel, or the types that have to refuse them"),
        );
    }
    step.done();
    fs::write(&kept, examples.len().to_string()).at(&kept)?;
    Ok(examples.len())
}

/// The examples in rust/kernel, in the order of their files.
fn find(tree: &Path) -> Result<Vec<Example>> {
    let mut files = Vec::new();
    let mut folders = vec![tree.join("rust/kernel")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).at(&folder)? {
            let path = entry.at(&folder)?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();

    let mut found = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).at(&path)?;
        let name = path
            .strip_prefix(tree)
            .unwrap_or(&path)
            .display()
            .to_string();
        found.extend(in_file(&name, &text));
    }
    Ok(found)
}

fn in_file(name: &str, text: &str) -> Vec<Example> {
    let mut found = Vec::new();
    let mut lines = text.lines().map(comment).enumerate();
    while let Some((i, line)) = lines.next() {
        let Some(code) = line.and_then(|l| l.strip_prefix("```ignore,compile_fail,")) else {
            continue;
        };
        let body = lines
            .by_ref()
            .map_while(|(_, line)| line.filter(|l| !l.starts_with("```")))
            .map(|line| line.strip_prefix("# ").unwrap_or(line));
        found.push(Example {
            place: format!("{name}:{}", i + 1),
            code: code.trim().to_owned(),
            text: body.map(|line| format!("{line}\n")).collect(),
        });
    }
    found
}

/// What a line of documentation says.
fn comment(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let text = line.strip_prefix("///").or(line.strip_prefix("//!"))?;
    Some(text.strip_prefix(' ').unwrap_or(text))
}

/// How the driver was compiled, but for what goes in and comes out.
fn options(objects: &Path) -> Result<String> {
    let saved = objects.join("drivers/dma-buf/.udmabuf_rust.o.cmd");
    let text = fs::read_to_string(&saved).at(&saved)?;
    options_of(&text).ok_or_else(|| {
        Error::finding(saved.display(), "does not say how the driver was compiled")
            .mend("see how the kernel compiles drivers in Rust, in scripts/Makefile.build")
    })
}

fn options_of(saved: &str) -> Option<String> {
    let (_, command) = saved.lines().next()?.split_once(":=")?;
    let words: Vec<&str> = command.split(';').next()?.split_whitespace().collect();
    let mut options = Vec::new();
    let mut rest = words.into_iter();
    while let Some(word) = rest.next() {
        match word {
            "--crate-name" | "--out-dir" => {
                rest.next()?;
            }
            _ if word.starts_with("--emit=") || word.ends_with(".rs") => {}
            _ => options.push(word),
        }
    }
    options.contains(&"rustc").then(|| options.join(" "))
}

/// As kbuild does, which lets a released compiler take unstable options.
fn compile(options: &str, i: usize) -> String {
    format!(
        "cd /obj && export RUSTC_BOOTSTRAP=1 && {options} --crate-name example_{i} --emit=metadata=/tmp/example_{i} {FOLDER}/example_{i}.rs"
    )
}

/// What is wrong with the compiler's answer.
fn judge(example: &Example, command: &mut Command) -> Result<Option<String>> {
    let output = run::capture(command)?;
    let said = String::from_utf8_lossy(&output.stderr);
    Ok(verdict(example, output.status.success(), &said))
}

fn verdict(example: &Example, compiled: bool, said: &str) -> Option<String> {
    let Example { place, code, .. } = example;
    if compiled {
        return Some(format!("{place}: it compiles"));
    }
    let codes: BTreeSet<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("error[")?.split_once(']'))
        .map(|(code, _)| code)
        .collect();
    if codes.iter().eq([code]) {
        return None;
    }
    Some(format!(
        "{place}: it is refused, but not for {code} alone\n{}",
        run::tail(said)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
//! Text.
//!
//! ```
//! works();
//! ```

    /// It is not `Send`:
    ///
    /// ```ignore,compile_fail,E0277
    /// # use kernel::prelude::*;
    /// send(x);
    ///
    /// y();
    /// ```
    fn f() {}
";

    fn example() -> Example {
        in_file("rust/kernel/a.rs", FILE).remove(0)
    }

    #[test]
    fn examples_are_found_with_their_hidden_lines() {
        let found = in_file("rust/kernel/a.rs", FILE);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].place, "rust/kernel/a.rs:9");
        assert_eq!(found[0].code, "E0277");
        assert_eq!(found[0].text, "use kernel::prelude::*;\nsend(x);\n\ny();\n");
    }

    #[test]
    fn only_the_named_error_is_right() {
        let right = "error[E0277]: not Send\nerror: aborting\n";
        assert_eq!(verdict(&example(), false, right), None);
        let compiles = verdict(&example(), true, "").unwrap();
        assert!(compiles.contains("a.rs:9: it compiles"), "{compiles}");
        for said in [
            "error: syntax",
            "error[E0432]: unresolved import",
            "error[E0277]: x\nerror[E0432]: y\n",
        ] {
            let wrong = verdict(&example(), false, said).unwrap();
            assert!(wrong.contains("not for E0277 alone"), "{wrong}");
        }
    }

    #[test]
    fn an_example_is_compiled_as_the_driver() {
        let saved = "savedcmd_a/b.o := OBJTREE=/obj rustc --edition=2021 -L ./rust --crate-name b --out-dir a \
                     --emit=dep-info=a/.b.o.d --emit=obj=a/b.o /src/a/b.rs  ; ./tools/objtool/objtool a/b.o\n";
        assert_eq!(
            options_of(saved).as_deref(),
            Some("OBJTREE=/obj rustc --edition=2021 -L ./rust")
        );
        assert_eq!(options_of("savedcmd_a/b.o := gcc -c b.c\n"), None);
        assert_eq!(options_of(""), None);
    }
}
