// SPDX-License-Identifier: GPL-2.0
//! The cache folder: everything that can be made again.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::error::{At, Error, Result};
use crate::progress;

#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// Held while one process changes the cache. The kernel drops it with the process, however that ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Cache {
    /// `$XDG_CACHE_HOME/series`, or `~/.cache/series`.
    pub fn open() -> Result<Self> {
        let absolute = |name| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|p| p.is_absolute())
        };
        let root = absolute("XDG_CACHE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
            .ok_or_else(|| {
                Error::environment(
                    "cache",
                    "neither XDG_CACHE_HOME nor HOME is an absolute path",
                )
                .mend("export XDG_CACHE_HOME=/some/folder")
            })?
            .join("series");
        fs::create_dir_all(&root).at(&root)?;
        Ok(Cache {
            root: root.canonicalize().at(&root)?,
        })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path in the cache; nothing is made there.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join(name)
    }

    /// A folder in the cache, made if missing.
    pub fn dir(&self, name: impl AsRef<Path>) -> Result<PathBuf> {
        let dir = self.root.join(name);
        fs::create_dir_all(&dir).at(&dir)?;
        Ok(dir)
    }

    /// As [`lock`], by a name.
    pub fn lock(&self, name: &str) -> Result<Lock> {
        lock(&self.path(format!("{name}.lock")))
    }

    /// The folder for temporary files, for as long as the lock is held. What runs left there that were killed is removed
    /// when no other run is going on, which could own it.
    pub fn temporary(&self) -> Result<(PathBuf, Lock)> {
        let dir = self.dir("tmp")?;
        let path = self.path("tmp.lock");
        let file = open(&path)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            // What cannot be removed is in nobody's way.
            let _ = fs::remove_dir_all(&dir);
            self.dir("tmp")?;
        }
        flock(&file, FlockOperation::LockShared)
            .map_err(io::Error::from)
            .at(&path)?;
        Ok((dir, Lock { _file: file }))
    }

    /// Free bytes on the cache's file system.
    pub fn free(&self) -> Result<u64> {
        let stat = rustix::fs::statvfs(&self.root)
            .map_err(io::Error::from)
            .at(&self.root)?;
        Ok(stat.f_bavail * stat.f_frsize)
    }

    /// Fails unless this many GiB are free, before work starts that would fill the disk.
    pub fn need_free(&self, gib: u64, what: &str) -> Result<()> {
        let free = self.free()? >> 30;
        if free >= gib {
            return Ok(());
        }
        Err(Error::environment(
            self.root.display(),
            format!("{what} needs {gib} GiB of free disk, {free} GiB are free"),
        )
        .mend("free some disk")
        .mend("export XDG_CACHE_HOME=/a/folder/on/a/larger/disk"))
    }
}

/// Waits until no other process holds the lock that this file is, saying who does.
pub fn lock(path: &Path) -> Result<Lock> {
    let mut file = open(path)?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut pid = String::new();
        file.read_to_string(&mut pid).at(path)?;
        if pid.trim() != std::process::id().to_string() {
            progress::note(format_args!(
                "waiting for process {} that holds {}",
                pid.trim(),
                path.display()
            ));
        }
        flock(&file, FlockOperation::LockExclusive)
            .map_err(io::Error::from)
            .at(path)?;
    }
    file.set_len(0).at(path)?;
    file.rewind().at(path)?;
    writeln!(file, "{}", std::process::id()).at(path)?;
    Ok(Lock { _file: file })
}

fn open(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
        .at(path)
}

/// Writes a file so that whoever reads it, whenever this ends, finds all of it or what was there before.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    // Others may read it as they may read what other programs write.
    let mode = Permissions::from_mode(0o666);
    let mut file = tempfile::Builder::new()
        .permissions(mode)
        .tempfile_in(dir)
        .at(dir)?;
    file.write_all(bytes).at(path)?;
    file.persist(path).map_err(|e| e.error).at(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_whole_has_the_mode_of_any_file() {
        let dir = tempfile::tempdir().unwrap();
        let (whole, plain) = (dir.path().join("whole"), dir.path().join("plain"));
        write_whole(&whole, b"text").unwrap();
        fs::write(&plain, b"text").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&whole), mode(&plain));
    }

    #[test]
    fn a_disk_that_is_too_small_is_named_before_work_starts() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache {
            root: dir.path().to_owned(),
        };
        assert!(cache.need_free(0, "nothing").is_ok());
        let error = cache
            .need_free(1 << 33, "a kernel")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("a kernel needs 8589934592 GiB") && error.contains("XDG_CACHE_HOME"),
            "{error}"
        );
    }

    #[test]
    fn temporary_files_of_runs_that_were_killed_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache {
            root: dir.path().to_owned(),
        };
        let (temporary, first) = cache.temporary().unwrap();
        let left = temporary.join(".tmpX/index");
        fs::create_dir_all(left.parent().unwrap()).unwrap();
        fs::write(&left, "").unwrap();
        let (_, second) = cache.temporary().unwrap();
        assert!(left.exists(), "the first run goes on");
        drop(first);
        assert!(cache.temporary().is_ok() && left.exists());
        drop(second);
        // A child that another test forks at this moment has the lock too, until it runs its program.
        let removed = (0..500).any(|_| {
            let (temporary, _third) = cache.temporary().unwrap();
            std::thread::sleep(std::time::Duration::from_millis(10));
            temporary.exists() && !left.exists()
        });
        assert!(removed);
    }

    #[test]
    fn a_file_that_cannot_be_written_stays_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kept");
        write_whole(&path, b"one").unwrap();
        write_whole(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        let folder = dir.path().join("folder");
        fs::create_dir_all(folder.join("full")).unwrap();
        assert!(write_whole(&folder, b"x").is_err());
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            2,
            "nothing is left"
        );
    }
}
