# SPDX-License-Identifier: GPL-2.0
# apt in the toolchain root, with index and sources in /download, and downloads in /download/new.
# usage: update | list PACKAGE | download PACKAGE VERSION
set -e
mkdir -p /download/index/partial
# An index that is past its date will do, as it is with a mirror that rests or a clock that is wrong: series.toml pins the
# package's sha256, and signatures are checked all the same.
cat > /tmp/apt.conf <<END
Dir::Etc::SourceList "/download/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State::Lists "/download/index";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Acquire::Check-Valid-Until "false";
Acquire::Languages "none";
Acquire::Retries "2";
END
export APT_CONFIG=/tmp/apt.conf
cd /download
case $1 in
update) exec apt-get -qq update ;;
# Newest first: "VERSION SHA256".
list) apt-cache show --all-versions "$2" 2>/dev/null |
	awk '$1 == "Version:" { v = $2 } $1 == "SHA256:" { print v, $2 }' | sort -Vru ;;
download) cd new && exec apt-get -qq download "$2=$3" ;;
esac
