#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The guest's first process: runs the tests of /tests, one a line: name, huge pages, seconds until it is killed, program
# with arguments, and a tab between them. Results go to the second serial port, apart from the console; the console is
# told which test runs, so that a splat can be put to it.
set -f
tab=$(printf '\t')
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
mount -t debugfs debugfs /sys/kernel/debug
mount -t tmpfs tmpfs /tmp
mkdir -p /dev/shm /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
stty -F /dev/RESULTS raw
# Open until the end: the last close shuts a serial port down, and what that has not sent then is lost.
exec 3> /dev/RESULTS
say() {
	echo "series: $*" > /dev/kmsg
	echo "series: $*" >&3
}
if grep -q series.shell /proc/cmdline; then
	setsid cttyhack sh
	poweroff -f
fi
# What CONFIG_DMA_API_DEBUG has counted, and whether it has given up.
dma=/sys/kernel/debug/dma-api
dma_state() {
	[ -e $dma ] && echo "$(cat $dma/error_count) errors, disabled $(cat $dma/disabled)"
}
cd /bin
before=$(dma_state)
while IFS=$tab read -r name hugepages seconds command; do
	echo "$hugepages" > /proc/sys/vm/nr_hugepages
	# CONFIG_DMA_API_DEBUG tells of one error, and then of no more.
	[ -e $dma ] && echo 1 > $dma/num_errors
	say "begin $name"
	# The command is split into words here: the blanks in it separate arguments.
	timeout -s KILL "$seconds" /bin/$command >&3 2>&1 3>&- < /dev/null
	status=$?
	after=$(dma_state)
	[ "$before" = "$after" ] || say "dma-api: from $before, to $after"
	# What comes between two tests is the next one's.
	before=$after
	say "end $name $status"
	echo 0 > /proc/sys/vm/nr_hugepages
done < /tests
if [ -e /sys/kernel/debug/kmemleak ]; then
	# An object is lost when two scans find nothing that points to it, and it is older than five seconds.
	say "begin kmemleak"
	for scan in 1 2; do
		sleep 6
		echo scan > /sys/kernel/debug/kmemleak
	done
	cat /sys/kernel/debug/kmemleak > /dev/console
	say "end kmemleak 0"
fi
if grep -q page_owner=on /proc/cmdline; then
	# Pages that calls of udmabuf, iommufd and what they stand on have allocated, and nobody has freed. Of those of files,
	# the pins were counted; slabs are for kmemleak; page tables of the kernel and what it checks itself with stay, and so
	# does the address space that kunit_attach_mm() gives to a test.
	say "begin page_owner"
	awk 'BEGIN { RS = ""; FS = "\n"; ours = "udmabuf|pin_user_pages_fd|dma_buf|iopt_" }
		$0 ~ ours && !/shmem_|hugetlb|slab|alloc_kernel|__p[mu4]d_alloc|kasan_|depot|dma_debug|debug_dma|pcpu_|kunit_attach_mm/ {
			for (i = 1; $i !~ ours; i++)
				;
			print "page_owner: left by" $i ", " $NF
			print
		}
		END { print "page_owner: " NR " stacks" }' /sys/kernel/debug/page_owner_stacks/show_stacks > /dev/console ||
		echo "page_owner: 0 stacks" > /dev/console
	say "end page_owner 0"
fi
say "finished"
exec 3>&-
poweroff -f
