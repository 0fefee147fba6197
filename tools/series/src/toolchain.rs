// SPDX-License-Identifier: GPL-2.0
//! The tools that build and boot kernels: a Debian root in the cache, or what the machine has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::cli::ToolchainChoice;
use crate::context::{Context, hex};
use crate::debootstrap;
use crate::error::{At, Error, Result};
use crate::run;
use crate::sandbox::Sandbox;

const PACKAGES: &str = include_str!("../data/packages.txt");
const TRIXIE_PACKAGES: &str = include_str!("../data/packages-trixie.txt");
const CROSS_PACKAGES: &str = include_str!("../data/packages-cross.txt");
const PROGRAM_PACKAGES: &str = include_str!("../data/packages-programs.txt");
const ENTER: &str = include_str!("../data/enter.sh");

/// In the finished root: the packages and versions that it holds.
pub const MANIFEST: &str = "series-packages";

/// What `--toolchain host` must find.
const HOST_TOOLS: [&str; 10] = [
    "clang", "ld.lld", "rustc", "bindgen", "make", "flex", "bison", "bc", "cpio", "perl",
];

/// What it uses besides, where it is there. busybox knows no --version, and says it at the head of its help.
const HOST_EXTRAS: [(&str, &str); 7] = [
    ("gcc", "--version"),
    ("ld", "--version"),
    ("pahole", "--version"),
    ("sparse", "--version"),
    ("busybox", "--help"),
    ("qemu-system-x86_64", "--version"),
    ("qemu-system-aarch64", "--version"),
];

/// A Debian root. All but the main one are made when a lane or a guest asks for them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Root {
    /// The oldest tools that the base can be built with, and all that is needed besides.
    #[default]
    Main,
    /// The same, and what builds and boots guests of another architecture.
    Cross,
    /// The newest tools that Debian has.
    Latest,
    /// No tools: the newest programs that use what the kernel offers, for a guest.
    #[serde(skip)]
    Programs,
}

impl Root {
    pub const ALL: [Root; 4] = [Root::Main, Root::Cross, Root::Latest, Root::Programs];

    pub fn name(self) -> &'static str {
        match self {
            Root::Main => "main",
            Root::Cross => "cross",
            Root::Latest => "latest",
            Root::Programs => "programs",
        }
    }

    /// The Debian release.
    pub fn suite(self) -> &'static str {
        match self {
            Root::Main | Root::Cross => "trixie",
            Root::Latest | Root::Programs => "forky",
        }
    }

    /// The Debian architecture that some packages are of, besides the machine's own.
    pub fn foreign(self) -> Option<&'static str> {
        (self == Root::Cross).then_some("arm64")
    }

    pub fn packages(self) -> Vec<&'static str> {
        let lists: &[&'static str] = match self {
            Root::Main => &[PACKAGES, TRIXIE_PACKAGES],
            Root::Cross => &[PACKAGES, TRIXIE_PACKAGES, CROSS_PACKAGES],
            Root::Latest => &[PACKAGES],
            Root::Programs => &[PROGRAM_PACKAGES],
        };
        lists
            .iter()
            .flat_map(|list| list.lines())
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect()
    }

    /// Where it is, or will be.
    pub fn path(self, ctx: &Context) -> PathBuf {
        let key = format!("{}\n{}", self.suite(), self.packages().join("\n"));
        let digest = hex(&Sha256::digest(key));
        ctx.cache
            .path(format!("toolchain/{}-{}", self.suite(), &digest[..12]))
    }
}

#[derive(Debug, Clone)]
pub struct Toolchain {
    kind: ToolchainChoice,
    sandbox: Sandbox,
    /// The folder that becomes `/`; that of `--toolchain host` is empty, and the machine's own are mounted there.
    root: PathBuf,
    /// Shared by all builds, mounted at /ccache.
    ccache: PathBuf,
    /// Changes whenever a tool may have changed; part of the key of every cached result.
    pub id: String,
}

impl Toolchain {
    /// The main toolchain, made now if it is missing.
    pub fn ensure(ctx: &Context) -> Result<Self> {
        Self::ensure_in(ctx, Root::Main)
    }

    /// The toolchain of this root, made now if it is missing.
    pub fn ensure_in(ctx: &Context, root: Root) -> Result<Self> {
        if ctx.toolchain == ToolchainChoice::Root && !root.path(ctx).exists() {
            debootstrap::make(ctx, Sandbox::probe()?, root)?;
        }
        Self::existing_in(ctx, root)?.ok_or_else(|| {
            let path = root.path(ctx);
            Error::environment(
                path.display(),
                format!("has no {MANIFEST}: it is not whole"),
            )
            .mend(format!("rm -rf '{}', then run this again", path.display()))
        })
    }

    /// The main toolchain, unless it has to be made first.
    pub fn existing(ctx: &Context) -> Result<Option<Self>> {
        Self::existing_in(ctx, Root::Main)
    }

    /// The toolchain of this root, unless it has to be made first. `--toolchain host` stands for all of them.
    pub fn existing_in(ctx: &Context, root: Root) -> Result<Option<Self>> {
        let ccache = ctx.cache.dir("ccache")?;
        if ctx.toolchain == ToolchainChoice::Host {
            let id = host_versions()?;
            return Ok(Some(Toolchain {
                kind: ToolchainChoice::Host,
                sandbox: Sandbox::probe()?,
                root: ctx.cache.dir("toolchain/host")?,
                ccache,
                id: format!("host-{}", &hex(&Sha256::digest(id))[..12]),
            }));
        }
        let path = root.path(ctx);
        let manifest = path.join(MANIFEST);
        if !manifest.exists() {
            return Ok(None);
        }
        let packages = fs::read(&manifest).at(&manifest)?;
        Ok(Some(Toolchain {
            kind: ToolchainChoice::Root,
            sandbox: Sandbox::probe()?,
            root: path,
            ccache,
            id: format!("{}-{}", root.suite(), &hex(&Sha256::digest(packages))[..12]),
        }))
    }

    /// The folder that holds the tools.
    pub fn root(&self) -> &Path {
        match self.kind {
            ToolchainChoice::Root => &self.root,
            ToolchainChoice::Host => Path::new("/"),
        }
    }

    /// A program of the root, to be copied. Of the machine's own it is the one that PATH finds, wherever it lies.
    pub fn file(&self, path: &str) -> PathBuf {
        let in_root = self.root().join(path);
        let (ToolchainChoice::Host, Some(name)) = (self.kind, in_root.file_name()) else {
            return in_root;
        };
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&folders)
            .map(|folder| folder.join(name))
            .find(|file| file.is_file());
        found.unwrap_or(in_root)
    }

    /// A command that runs `program` in the root, in `/`, with each host path mounted at its place inside.
    ///
    /// The environment is the same on every machine; for more, run `env` with assignments before the program.
    /// Killing the command kills all that it started. It must be waited for by the thread that starts it.
    pub fn command(&self, mounts: &[(&Path, &str)], program: &str) -> Command {
        self.enter(mounts, &[], program)
    }

    /// The same, with the machine's way into the network.
    pub fn network_command(&self, mounts: &[(&Path, &str)], program: &str) -> Command {
        let mut mounts = mounts.to_vec();
        if self.kind == ToolchainChoice::Root {
            for file in ["/etc/resolv.conf", "/etc/hosts"] {
                if Path::new(file).exists() {
                    mounts.push((Path::new(file), file));
                }
            }
        }
        let proxies: Vec<String> = std::env::vars()
            .filter(|(name, _)| name.to_lowercase().ends_with("_proxy"))
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        self.enter(&mounts, &proxies, program)
    }

    fn enter(&self, mounts: &[(&Path, &str)], environment: &[String], program: &str) -> Command {
        let mut command = self.sandbox.command("sh");
        command.args(["-c", ENTER, "enter"]);
        command.arg(match self.kind {
            ToolchainChoice::Root => "root",
            ToolchainChoice::Host => "host",
        });
        command.arg(&self.root);
        command.args([self.ccache.as_os_str(), "/ccache".as_ref()]);
        for (from, to) in mounts {
            command.args([from.as_os_str(), to.as_ref()]);
        }
        let path = "/usr/lib/ccache:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let (path, home) = match self.kind {
            ToolchainChoice::Root => (path.to_owned(), "/root".to_owned()),
            ToolchainChoice::Host => (
                std::env::var("PATH").unwrap_or_else(|_| path.to_owned()),
                std::env::var("HOME").unwrap_or_else(|_| "/root".to_owned()),
            ),
        };
        command.args(["--", "env", "-i"]);
        command.arg(format!("HOME={home}"));
        command.arg(format!("PATH={path}"));
        command.args([
            "LANG=C.UTF-8",
            "CCACHE_DIR=/ccache",
            "CCACHE_MAXSIZE=8G",
            "KBUILD_BUILD_TIMESTAMP=2026-11-15",
            "KBUILD_BUILD_USER=series",
            "KBUILD_BUILD_HOST=series",
        ]);
        command.args(environment);
        command.arg(program);
        command
    }
}

/// The root with programs for a guest, made now if it is missing. It holds no tools: there is nothing of the machine's
/// own that could stand for it.
pub fn programs(ctx: &Context) -> Result<PathBuf> {
    debootstrap::make(ctx, Sandbox::probe()?, Root::Programs)?;
    Ok(Root::Programs.path(ctx))
}

/// What identifies the machine's own tools.
fn host_versions() -> Result<String> {
    let mut versions = String::new();
    let mut missing = Vec::new();
    for tool in HOST_TOOLS {
        match run::capture(Command::new(tool).arg("--version")) {
            Ok(output) => versions += &String::from_utf8_lossy(&output.stdout),
            Err(_) => missing.push(tool),
        }
    }
    for (tool, option) in HOST_EXTRAS {
        if let Ok(output) = run::capture(Command::new(tool).arg(option)) {
            versions += &String::from_utf8_lossy(&output.stdout);
        }
    }
    if missing.is_empty() {
        return Ok(versions);
    }
    Err(Error::environment(
        "toolchain",
        format!("this machine lacks {}", missing.join(", ")),
    )
    .mend("install them")
    .mend("leave out --toolchain host: the tool then makes a root that has them"))
}
