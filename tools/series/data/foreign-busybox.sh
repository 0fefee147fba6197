# SPDX-License-Identifier: GPL-2.0
# A hook of mmdebstrap: busybox-static of another architecture, in /opt/ARCHITECTURE of the new root.
# usage: ROOT ARCHITECTURE
set -e
chroot "$1" sh -ec '
	mkdir /tmp/foreign && cd /tmp/foreign
	apt-get -qq -o APT::Sandbox::User=root download "busybox-static:$1"
	dpkg-deb -x busybox-static_*.deb "/opt/$1"
	rm -r /tmp/foreign' hook "$2"
