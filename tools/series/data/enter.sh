# SPDX-License-Identifier: GPL-2.0
# Runs in a mount and pid namespace of its own: nothing of it is left on the host when it ends.
# usage: KIND ROOT [FROM TO]... -- COMMAND...
set -e
kind=$1 root=$2
shift 2
if [ "$kind" = host ]; then
	# The machine's own folders, in a root where mount points can be made without touching it.
	mount -t tmpfs tmpfs "$root"
	for entry in /*; do
		if [ -L "$entry" ]; then
			cp -P "$entry" "$root$entry"
		elif [ -d "$entry" ]; then
			mkdir "$root$entry"
			mount --rbind "$entry" "$root$entry"
		fi
	done
else
	mount --rbind /dev "$root/dev"
	mount -t tmpfs tmpfs "$root/tmp"
fi
mount -t proc proc "$root/proc" 2>/dev/null || mount --rbind /proc "$root/proc"
while [ "$1" != -- ]; do
	if [ -d "$1" ]; then
		mkdir -p "$root$2"
	else
		mkdir -p "$(dirname "$root$2")"
		[ -e "$root$2" ] || : > "$root$2"
	fi
	mount --rbind "$1" "$root$2"
	shift 2
done
shift
# Not exec: as the namespace's first process the command would ignore signals.
chroot "$root" "$@"
exit $?
