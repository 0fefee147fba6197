// SPDX-License-Identifier: GPL-2.0
//! Fetches a base's Debian package with the apt of the toolchain root, and verifies it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::config::DebianSource;
use crate::context::{Context, hex};
use crate::error::{At, Error, Result};
use crate::progress;
use crate::run;
use crate::toolchain::{Root, Toolchain};

/// apt with an index and a package source of our own, so that the root stays as it is.
const APT: &str = include_str!("../data/apt.sh");

/// The verified .deb file, in the cache.
pub fn fetch(
    ctx: &Context,
    toolchain: &Toolchain,
    name: &str,
    source: &DebianSource,
) -> Result<PathBuf> {
    let dir = ctx.cache.dir("download")?;
    // As apt names it.
    let file = format!(
        "{}_{}_all.deb",
        source.package,
        source.version.replace(':', "%3a")
    );
    let deb = dir.join(&file);
    if deb.exists() {
        return verify(&deb, &source.sha256).map(|()| deb);
    }
    ctx.cache.need_free(2, "the base kernel")?;
    let step = progress::step(format_args!(
        "fetching {} {}",
        source.package, source.version
    ));
    let sources = dir.join("sources.list");
    let line = sources_line(toolchain.root(), &source.suite)?;
    fs::write(&sources, line).at(&sources)?;

    let apt = |action: &str| {
        let mut command = toolchain.network_command(&[(&dir, "/download")], "sh");
        command.args(["-c", APT, "apt", action, &source.package, &source.version]);
        command
    };
    let by_hand = format!(
        "get {file} on another machine and put it into {}",
        dir.display()
    );
    let index = run::capture(&mut apt("update"))?;
    if !index.status.success() {
        return Err(Error::environment(
            format!("base {name}"),
            "no network: the Debian mirror's index cannot be fetched",
        )
        .detail(run::tail(&String::from_utf8_lossy(&index.stderr)))
        .mend("check the network or http_proxy, then run this again")
        .mend(by_hand));
    }
    let offered = run::text(&mut apt("list"))?;
    let offered: Vec<Offer> = offered.lines().filter_map(Offer::parse).collect();
    if !offered.iter().any(|offer| offer.version == source.version) {
        return Err(gone(name, source, offered.first()).mend(by_hand));
    }
    // What apt was killed over is no package: it gets its name when it is whole.
    let new = dir.join("new");
    if new.exists() {
        fs::remove_dir_all(&new).at(&new)?;
    }
    fs::create_dir(&new).at(&new)?;
    let new = new.join(&file);
    let fetched = run::capture(&mut apt("download"))?;
    if !fetched.status.success() || !new.exists() {
        return Err(Error::environment(
            format!("base {name}"),
            format!("{file} is in the mirror's index, and fetching it failed"),
        )
        .detail(run::tail(&String::from_utf8_lossy(&fetched.stderr)))
        .mend("run this again")
        .mend(by_hand));
    }
    verify(&new, &source.sha256)?;
    fs::rename(&new, &deb).at(&deb)?;
    step.done();
    Ok(deb)
}

/// A version that the mirror has.
struct Offer<'a> {
    version: &'a str,
    sha256: &'a str,
}

impl<'a> Offer<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (version, sha256) = line.split_once(' ')?;
        Some(Offer { version, sha256 })
    }
}

/// The mirror answers, and has dropped this version.
fn gone(name: &str, source: &DebianSource, newest: Option<&Offer>) -> Error {
    let error = Error::environment(
        format!("base {name}"),
        format!(
            "{} {} is gone from the mirror; the network is fine",
            source.package, source.version
        ),
    );
    let Some(newest) = newest else {
        return error.detail(format!("{} has no {} at all", source.suite, source.package));
    };
    let upstream = newest.version.split('-').next().unwrap_or(newest.version);
    error
        .detail(format!(
            "the newest there is {}: try whether the patches apply to it too",
            newest.version
        ))
        .mend(format!(
            "write into series.toml, and base = \"{upstream}\" if base = names \"{name}\":\n      [bases.\"{upstream}\"]\n      package = \"{}\"\n      \
             version = \"{}\"\n      suite = \"{}\"\n      sha256 = \"{}\"\n      tarball = \"{}\"",
            source.package,
            newest.version,
            source.suite,
            newest.sha256,
            source.tarball.display()
        ))
}

fn verify(deb: &Path, expected: &str) -> Result<()> {
    let mut file = File::open(deb).at(deb)?;
    let mut hash = Sha256::new();
    io::copy(&mut file, &mut hash).at(deb)?;
    let found = hex(&hash.finalize());
    if found == expected {
        return Ok(());
    }
    Err(Error::environment(
        deb.display(),
        format!("sha256 is {found}, series.toml expects {expected}"),
    )
    .mend(format!(
        "rm '{}', then run this again to fetch it anew",
        deb.display()
    ))
    .mend("correct sha256 = in series.toml, if this is the package that you mean"))
}

/// The root's own package source, for another suite.
fn sources_line(root: &Path, suite: &str) -> Result<String> {
    let list = root.join("etc/apt/sources.list");
    let text = fs::read_to_string(&list).at(&list)?;
    text.lines()
        .find_map(|line| derive(line, suite))
        .ok_or_else(|| {
            Error::environment(
                list.display(),
                format!("names no source for {}", Root::Main.suite()),
            )
            .mend(format!("rm -rf '{}', then run this again", root.display()))
        })
}

/// "deb [options] URI trixie main" -> the same for another suite.
fn derive(line: &str, suite: &str) -> Option<String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let at = fields
        .iter()
        .position(|field| *field == Root::Main.suite())?;
    (fields[0] == "deb" && at >= 2).then(|| format!("{} {suite} main\n", fields[..at].join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_suite_of_the_same_mirror() {
        assert_eq!(
            derive(
                "deb [signed-by=/k.gpg] http://mirror/debian trixie main contrib",
                "trixie-backports"
            )
            .as_deref(),
            Some("deb [signed-by=/k.gpg] http://mirror/debian trixie-backports main\n")
        );
        for other in [
            "deb http://mirror/debian trixie-updates main",
            "# deb http://mirror/debian trixie main",
            "deb-src http://mirror/debian trixie main",
            "",
        ] {
            assert_eq!(derive(other, "x"), None, "{other:?}");
        }
    }

    #[test]
    fn a_version_that_is_gone_names_what_is_there() {
        let source = DebianSource {
            package: "linux-source-7.3".to_owned(),
            version: "7.3.4-1".to_owned(),
            suite: "trixie-backports".to_owned(),
            sha256: "00".to_owned(),
            tarball: "usr/src/linux-source-7.3.tar.xz".into(),
            tree: None,
        };
        let offer = Offer::parse("7.3.6-1~bpo13+1 abcd").unwrap();
        let said = gone("7.3.4", &source, Some(&offer)).to_string();
        assert!(said.contains("gone from the mirror"), "{said}");
        assert!(said.contains("base = \"7.3.6\""), "{said}");
        assert!(said.contains("sha256 = \"abcd\""), "{said}");
    }
}
