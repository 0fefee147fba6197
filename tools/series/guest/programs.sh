#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Programs of Debian that open /dev/udmabuf, in a root of their own. strace shows that they make buffers. What comes out
# of them is a part of the case's name: it is the same with every kernel, or seen not to be.
if [ -d /debian ]; then
	for folder in dev proc sys tmp; do
		mount -o bind /$folder /debian/$folder
	done
	cat /bin/programs > /debian/programs
	cat /bin/blobs > /debian/tmp/blobs
	exec chroot /debian /bin/sh /programs
fi
export HOME=/tmp XDG_RUNTIME_DIR=/tmp PATH=/usr/sbin:/usr/bin
# Mesa draws without a GPU and without a window.
export GST_GL_PLATFORM=egl GST_GL_WINDOW=surfaceless
number=0
passed=0

# Of each buffer that was made, the sum of its parts. Each thread has a file, so that calls are on one line.
sizes() {
	awk '/UDMABUF_CREATE/ && / = [0-9]+$/ {
		sum = 0
		for (line = $0; match(line, /size=[0-9]+/); line = substr(line, RSTART + RLENGTH))
			sum += substr(line, RSTART + 5, RLENGTH - 5)
		print sum
	}' /tmp/calls.*
}

# makes BYTES COMMAND...: the command succeeds, and makes a buffer of that size or a larger one.
makes() {
	least=$1
	shift
	rm -f /tmp/calls.*
	timeout -s KILL 90 strace -ff -qq -e trace=openat,ioctl -o /tmp/calls "$@" > /tmp/said 2>&1 || return
	for size in $(sizes); do
		[ "$size" -ge "$least" ] && return
	done
	echo "no buffer of $least bytes was made" >> /tmp/said
	return 1
}

# verdict STATUS NAME RESULT: the result is a file that is there and not all zero.
verdict() {
	number=$((number + 1))
	if [ "$1" = 0 ] && [ -n "$(tr -d '\000' < "$3" | head -c 1)" ]; then
		passed=$((passed + 1))
		echo "ok $number $2, sha256 $(sha256sum < "$3" | head -c 16)"
	else
		sed 's/^/# /' /tmp/said
		grep -hi udmabuf /tmp/calls.* | tail -n 20 | sed 's/^/# /'
		echo "not ok $number $2"
	fi
}

echo TAP version 13
echo 1..5

# libcamera has a camera without hardware, and takes its buffers from there.
mkdir -p /usr/share/libcamera/pipeline/virtual
cat > /usr/share/libcamera/pipeline/virtual/virtual.yaml <<-END
	"Virtual0":
	  supported_formats:
	  - width: 640
	    height: 480
	    frame_rates:
	    - 30
	    - 30
	  test_pattern: "bars"
	  location: "CameraLocationFront"
	  model: "Virtual Video Device"
END
makes 460800 cam -c 1 -s width=640,height=480 --capture=8 --file=/tmp/camera-#.bin
status=$?
cat /tmp/camera-* > /tmp/camera
verdict $status "libcamera: frames of a camera" /tmp/camera

# What Mesa's llvmpipe has drawn is handed over as a dma-buf, and is what it hands over by copying.
source="gltestsrc num-buffers=4 ! video/x-raw(memory:GLMemory),width=320,height=240 ! gldownload"
timeout -s KILL 90 gst-launch-1.0 -q $source ! "video/x-raw,format=RGBA" ! filesink location=/tmp/copied > /dev/null 2>&1
makes 307200 gst-launch-1.0 -q $source ! "video/x-raw(memory:DMABuf)" ! filesink location=/tmp/drawn &&
	cmp /tmp/copied /tmp/drawn >> /tmp/said 2>&1
verdict $? "mesa: frames drawn by llvmpipe" /tmp/drawn

# GStreamer's own allocator: it writes frames into buffers that Mesa then imports.
source="videotestsrc num-buffers=4 ! video/x-raw,format=RGBA,width=320,height=240"
timeout -s KILL 90 gst-launch-1.0 -q $source ! filesink location=/tmp/written > /dev/null 2>&1
makes 307200 gst-launch-1.0 -q $source ! glupload ! gldownload ! "video/x-raw,format=RGBA" ! \
	filesink location=/tmp/imported && cmp /tmp/written /tmp/imported >> /tmp/said 2>&1
verdict $? "gstreamer: frames imported by llvmpipe" /tmp/imported

# Mesa's Vulkan driver tries the device before it offers to share memory.
makes 4096 vulkaninfo --summary
status=$?
sed 's/^WARNING.*//' /tmp/said > /tmp/vulkan
verdict $status "mesa: what lavapipe offers" /tmp/vulkan

# QEMU makes a buffer of memory that is its guest's, and shows what is in it.
chmod +x /tmp/blobs
makes 16384 /tmp/blobs /tmp/screen
verdict $? "qemu: a picture in a blob of virtio-gpu" /tmp/screen
echo "# figures: programs=$passed"
