// SPDX-License-Identifier: GPL-2.0
//! Turns a package's tarball into one git commit, in a stream: nothing is unpacked to disk.

use std::io::{BufWriter, Read, Write};
use std::path::Path;
use std::process::Stdio;

use tar::{Archive, Entry, EntryType};

use crate::error::{Error, Result};
use crate::git::{DATE, EMAIL, Git, NAME};
use crate::run;
use crate::toolchain::Toolchain;

/// Name, mail and dates are fixed: the same tarball is the same commit everywhere.
pub fn tarball(
    git: &Git,
    toolchain: &Toolchain,
    deb: &Path,
    tarball: &Path,
    message: &str,
) -> Result<String> {
    let broken = |e: std::io::Error| {
        Error::environment(
            deb.display(),
            format!("unpacking {}: {e}", tarball.display()),
        )
        .mend("free some disk, then run this again")
    };
    let mut unpack = toolchain.command(&[(deb, "/base.deb")], "bash");
    unpack.args(["-o", "pipefail", "-c"]);
    unpack.arg("dpkg-deb --fsys-tarfile /base.deb | tar -xO -f - \"./$1\" | xz -dcT0");
    unpack.arg("unpack").arg(tarball);
    let mut unpacking = unpack
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(broken)?;
    let tar = unpacking.stdout.take().expect("stdout was piped");

    git.unlock_ref(IMPORT)?;
    // The quickest compression: this is read far more often than it is kept.
    let mut import = git
        .command(&[
            "-c",
            "core.compression=1",
            "fast-import",
            "--quiet",
            "--done",
        ])
        .stdin(Stdio::piped())
        .spawn()
        .map_err(broken)?;
    let stream = BufWriter::with_capacity(1 << 20, import.stdin.take().expect("stdin was piped"));
    let written = write_commit(stream, tar, message);
    let unpacked = unpacking.wait().map_err(broken)?;
    let imported = import.wait().map_err(broken)?;
    for (program, status) in [("unpacking", unpacked), ("git fast-import", imported)] {
        if !status.success() {
            let how = run::describe(status);
            let failed = Error::environment(deb.display(), format!("{program}: {how}"))
                .mend("free some disk, then run this again");
            // It may have ended because nobody reads any more: then this is the reason.
            return Err(match written {
                Err(e) => failed.detail(e),
                Ok(()) => failed,
            });
        }
    }
    written.map_err(broken)?;
    let commit = git.run(&["rev-parse", IMPORT])?;
    git.run(&["update-ref", "-d", IMPORT])?;
    Ok(commit)
}

/// Holds the commit until it is verified.
const IMPORT: &str = "refs/series/import";

fn write_commit(mut out: impl Write, tar: impl Read, message: &str) -> std::io::Result<()> {
    write!(
        out,
        "commit {IMPORT}\nauthor {NAME} <{EMAIL}> {DATE}\ncommitter {NAME} <{EMAIL}> {DATE}\ndata {}\n{message}\ndeleteall\n",
        message.len()
    )?;
    let mut archive = Archive::new(tar);
    for entry in archive.entries()? {
        write_file(&mut out, entry?)?;
    }
    // What fills up the tarball behind its end; its writer would get a signal for what nobody reads.
    std::io::copy(&mut archive.into_inner(), &mut std::io::sink())?;
    out.write_all(b"done\n")?;
    out.flush()
}

fn write_file(out: &mut impl Write, mut entry: Entry<impl Read>) -> std::io::Result<()> {
    let path = entry.path_bytes().into_owned();
    // The tarball holds one folder, whose name is no part of the tree.
    let Some(slash) = path.iter().position(|b| *b == b'/') else {
        return Ok(());
    };
    let path = quote(&path[slash + 1..]);
    let header = entry.header();
    match header.entry_type() {
        EntryType::Regular => {
            let executable = header.mode()? & 0o100 != 0;
            let mode: &[u8] = if executable { b"100755" } else { b"100644" };
            let size = entry.size();
            out.write_all(&[b"M ", mode, b" inline ", &path, b"\n"].concat())?;
            writeln!(out, "data {size}")?;
            std::io::copy(&mut entry, out)?;
            out.write_all(b"\n")
        }
        EntryType::Symlink => {
            let target = entry
                .link_name_bytes()
                .ok_or_else(|| std::io::Error::other("a symbolic link without a target"))?;
            out.write_all(&[b"M 120000 inline ", &path[..], b"\n"].concat())?;
            writeln!(out, "data {}", target.len())?;
            out.write_all(&target)?;
            out.write_all(b"\n")
        }
        EntryType::Directory | EntryType::XGlobalHeader => Ok(()),
        other => Err(std::io::Error::other(format!(
            "{}: unexpected kind {other:?} in the tarball",
            String::from_utf8_lossy(&path)
        ))),
    }
}

/// A path as fast-import wants it.
fn quote(path: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'"'];
    for byte in path {
        match byte {
            b'"' | b'\\' => quoted.extend([b'\\', *byte]),
            b'\n' => quoted.extend(b"\\n"),
            _ => quoted.push(*byte),
        }
    }
    quoted.push(b'"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tarball_is_read_to_its_end() {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(2);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, "linux/Makefile", &b"x\n"[..])
            .unwrap();
        let mut tarball = builder.into_inner().unwrap();
        tarball.resize(tarball.len() + (1 << 20), 0);

        let mut stream = Vec::new();
        let mut rest = tarball.as_slice();
        write_commit(&mut stream, &mut rest, "base").unwrap();
        assert!(rest.is_empty(), "{} bytes were left", rest.len());
        let text = String::from_utf8(stream).unwrap();
        assert!(
            text.ends_with("M 100644 inline \"Makefile\"\ndata 2\nx\n\ndone\n"),
            "{text}"
        );
    }
}
