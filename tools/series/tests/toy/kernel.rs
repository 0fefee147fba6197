// SPDX-License-Identifier: GPL-2.0
//! Tools that only look like those that build and boot kernels, and a toy whose kernel they take for one.

use std::fs;
use std::path::Path;

use super::{Toy, executable, replace};

const TESTS: &str = r#"
[[kernel.tests]]
name = "pin"
dir = "mm"
program = "pin"
cases = 2
fails_on_base = ["seven"]
"#;

/// A test program: its plan, then each case and what a kernel must have in it to pass.
const PROGRAM: &str = "1..2\nseven line seven\neight line 8\n# figures: calls=3 refused=1\n";

/// Knows the targets that kernels have, compiles what is older than its source, and complains about what stands in that.
pub const MAKE: &str = r#"#!/bin/sh
targets=
while [ $# -gt 0 ]; do
	case $1 in
	--version) echo "a toy"; exit ;;
	-C) cd "$2"; shift ;;
	O=*) objects=${1#O=} ;;
	-* | *=*) ;;
	*) targets="$targets $1" ;;
	esac
	shift
done
compile() {
	for file; do
		[ "$objects/${file%.c}.o" -nt "$file" ] && continue
		grep -n '^#warning ' "$file" |
			sed "s|^\([0-9]*\):#warning \(.*\)|$file:\1:2: warning: \2 [-W#warnings]|"
		if grep -q '^#error ' "$file"; then
			echo "$file:1:2: error: $(sed -n 's/^#error //p' "$file")"
			exit 2
		fi
		mkdir -p "$objects/${file%/*}"
		: > "$objects/${file%.c}.o"
	done
}
image() {
	mkdir -p "$objects/arch/${1%/*}"
	cat mm/*.c > "$objects/arch/$1"
	echo "ffffffff81000000 T pin" > "$objects/System.map"
}
for target in $targets; do
	case $target in
	headers) ;;
	allnoconfig)
		cp "$objects/series.config" "$objects/.config"
		echo asked >> "$objects/asked"
		;;
	/guest/bin/*) cp "${target##*/}.c" "$target" ;;
	bzImage)
		compile mm/*.c
		image x86/boot/bzImage
		;;
	Image)
		compile mm/*.c
		image arm64/boot/Image
		;;
	*_rust.o)
		mkdir -p "$objects/${target%/*}"
		echo "savedcmd := rustc" > "$objects/${target%/*}/.${target##*/}.cmd"
		;;
	*.o) compile "${target%.o}.c" ;;
	mm/ | media/) compile "$target"*.c ;;
	esac
done
"#;

/// An archive of what a guest needs here: the names of its tests, each with its program behind it.
const CPIO: &str = r#"#!/bin/sh
[ "$1" = --version ] && exit
cat > /dev/null
while read -r name hugepages seconds command; do
	echo "@ $name"
	cat "/guest/bin/${command%% *}"
done < /guest/tests
echo "@"
"#;

/// Boots such a kernel: a line that a test looks for is there, or is not. A guest of `bench` counts what its size says, and
/// a plugin sees an instruction.
pub const QEMU: &str = r#"#!/bin/sh
case "$*" in *"-accel kvm"*) exit 1 ;; esac
exec 3>> /out/results.log
for append; do :; done
echo "Kernel command line: $append"
case "$append" in
*bench_buffer=*)
	buffer=${append##*bench_buffer=}
	sizes=${append##*bench_sizes=}
	for size in $(echo "${sizes%% *}" | tr , ' '); do
		echo "bench: ${buffer%% *} $size create ${size}00000" >&3
	done
	echo "bench: end" >&3
	case "$*" in *" -plugin "*) echo "ffffffff81000000 1" > /out/blocks ;; esac
	exit
	;;
esac
kernel=$(echo /kernel/*Image)
running=
end() {
	[ -z "$running" ] || echo "series: end $running 0" | tee -a /dev/fd/3
}
gunzip -c /initrd | while read -r first rest; do
	case $first in
	@)
		end
		running=$rest
		if [ -z "$running" ]; then
			grep -q "^reset" "$kernel" || echo "series: finished" >&3
			break
		fi
		echo "series: begin $running" | tee -a /dev/fd/3
		sed -n 's/^splat //p' "$kernel"
		echo "TAP version 13" >&3
		;;
	1..*) echo "$first" >&3 ;;
	\#) echo "$first $rest" >&3 ;;
	*)
		[ "$first" = eight ] && grep -q "^differs" "$kernel" && first=eight-here
		if grep -qx "$rest" "$kernel"; then
			echo "ok 1 $first" >&3
		else
			echo "not ok 1 $first" >&3
		fi
		;;
	esac
done
"#;

/// What only has to be there.
const NOTHING: &str = "#!/bin/sh\necho a toy\n";

pub fn program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    executable(path);
}

/// Two patches on the toy kernel, the second of them the test; `change` does something to the tree before the base, which
/// it is told by a 0, and before each patch. `lanes` are tables of series.toml.
pub fn toy(lanes: &str, change: impl Fn(&Path, usize)) -> Toy {
    let toy = Toy::new();
    change(&toy.kernel(), 0);
    fs::write(toy.kernel().join("mm/pin.c"), "int pin;\n").unwrap();
    fs::write(toy.kernel().join("mm/Makefile"), "obj-y := gup.o pin.o\n").unwrap();
    toy.commit(&toy.kernel(), "what this base has besides");
    toy.configure(TESTS);
    toy.configure(lanes);
    let tools = toy.path("tools");
    fs::create_dir(&tools).unwrap();
    for (name, text) in [
        ("make", MAKE),
        ("cpio", CPIO),
        ("qemu-system-x86_64", QEMU),
        ("qemu-system-aarch64", QEMU),
    ] {
        program(&tools.join(name), text);
    }
    for name in [
        "clang", "ld.lld", "rustc", "bindgen", "flex", "bison", "bc", "perl", "busybox",
    ] {
        program(&tools.join(name), NOTHING);
    }
    let tree = toy.applied();
    toy.cover(&tree, "1-fixes", "Fixes.\n\nThey are small.");
    change(&tree, 1);
    replace(&tree.join("mm/gup.c"), "line 7\n", "line seven\n");
    toy.commit(&tree, "mm: spell seven\n\nDigits are hard to read.");
    change(&tree, 2);
    let tests = tree.join("tools/testing/selftests/mm");
    fs::create_dir_all(&tests).unwrap();
    fs::write(tests.join("pin.c"), PROGRAM).unwrap();
    toy.commit(&tree, "selftests/mm: read seven\n\nIt has to be spelled.");
    let ran = toy.run(&["refresh"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    toy
}

/// Where programs are looked for: these first, then those of the machine.
pub fn path(toy: &Toy) -> String {
    let machine = std::env::var("PATH").unwrap();
    format!("{}:{machine}", toy.path("tools").display())
}
