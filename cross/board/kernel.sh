#!/bin/bash
# Builds what one emulated board boots: Debian's own kernel, its modules and the
# two that it lacks (see Kbuild), and an initramfs with busybox and ./init.
#   kernel.sh [FLAVOUR]  ->  $CACHE/FLAVOUR/{Image,initrd.gz}     (flavours: arm64, armmp)
# It is the kernel that Debian 12 has now, and stays it until the cache is emptied or
# these scripts change. No root is needed; apt checks what it fetches, from the archive
# that this machine's own is set up with.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CACHE=${CACHE:-$here/../cache}
flavour=${1:-arm64}
export PATH=$PATH:/usr/sbin:/sbin LC_ALL=C

die() { echo "board: $*" >&2; exit 1; }

case $flavour in
arm64) series=6.1 deb=arm64 gnu=aarch64-linux-gnu ;;
armmp) series=6.1 deb=armhf gnu=arm-linux-gnueabihf ;;
*) die "no flavour $flavour" ;;
esac

# Loaded by ./init before anything runs ...
boot="virtio_pci 9p 9pnet_virtio virtio-rng configfs gpio-sim snd-aloop snd-dummy"
# ... on boards with systemd these too, before their disks are mounted ...
system="virtio_blk virtio_net virtio_console squashfs crc32c_generic ext4 overlay autofs4"
# ... and there for modprobe.
more="snd-hrtimer snd-usb-audio xhci-pci leds-gpio gpio_keys evdev softdog"

mkdir -p "$CACHE/debs" "$CACHE/log"
exec 9>"$CACHE/.lock"
flock -w 900 9 || die "another build holds $CACHE/.lock"

out=$CACHE/$flavour
key=$(cat "$here"/{kernel.sh,init,Kbuild} | sha256sum | cut -d' ' -f1)
[ -s "$out/Image" ] && [ -s "$out/initrd.gz" ] && [ "$(cat "$out/.stamp" 2>/dev/null)" = "$key" ] && exit 0

# step NAME SECONDS FUNCTION: runs it with a time limit; its log is kept, and
# shown when it fails.
step() {
	local log=$CACHE/log/$flavour-$1.log t=$SECONDS rc=0
	timeout -k 5 "$2" bash -euo pipefail -c "$(declare -f die "$3"); $3" >"$log" 2>&1 || rc=$?
	if [ "$rc" != 0 ]; then
		[ "$rc" = 124 ] && echo "board: $1: stopped after $2 s" >&2
		tail -n 60 "$log" >&2
		die "$1 failed ($rc), whole log in $log"
	fi
	echo "board: $flavour: $1 in $((SECONDS - t)) s" >&2
}

fetch() { # the newest packages -> $CACHE/debs, their names -> $out/debs, the kernel's -> $out/release
	local mirror apt=$out/apt image release
	mirror=$(apt-get indextargets --format '$(REPO_URI)' | sed -n 's,/debian/$,,p' | head -n 1)
	[ -n "$mirror" ] || die "apt has no Debian archive set up"
	# An apt of its own, with no part in what this machine has installed.
	rm -rf "$apt"
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
	: >"$apt/status"
	echo "deb [arch=amd64,$deb] $mirror/debian bookworm main" >"$apt/sources.list"
	cat >"$apt/conf" <<-END
		Dir::State "$apt";
		Dir::State::status "$apt/status";
		Dir::Cache "$apt/cache";
		Dir::Etc::SourceList "$apt/sources.list";
		Dir::Etc::SourceParts "/dev/null";
		Dir::Etc::Preferences "/dev/null";
		Dir::Etc::PreferencesParts "/dev/null";
		APT::Architecture "amd64";
		APT::Architectures { "amd64"; "$deb"; };
		APT::Sandbox::User "";
		Acquire::Languages "none";
		Acquire::Retries "3";
		Acquire::http::Timeout "60";
	END
	export APT_CONFIG=$apt/conf
	apt-get -q --error-on=any update
	image=$(apt-cache show --no-all-versions "linux-image-$flavour:$deb" | sed -n 's/^Depends: \([^ ,]*\).*/\1/p')
	release=${image#linux-image-}
	[ -n "$release" ] && [ "$image" != "$release" ] || die "Debian has no kernel $flavour"
	set -- "$image:$deb" "linux-headers-$release:$deb" "linux-headers-${release%-*}-common" \
		"linux-kbuild-$series" "linux-source-$series" "busybox-static:$deb"
	(cd "$CACHE/debs" && apt-get -q download "$@")
	apt-get -q download --print-uris "$@" | cut -d' ' -f2 >"$out/debs"
	echo "$release" >"$out/release"
	rm -rf "$apt"
}

unpack() { # -> $K: one tree of kernel, headers, source; busybox beside it
	local file dir
	rm -rf "$K" "$out/busybox"
	mkdir -p "$K" "$out/busybox"
	while read -r file; do
		dir=$K
		case $file in busybox-static*) dir=$out/busybox ;; esac
		dpkg-deb -x "$CACHE/debs/$file" "$dir"
	done <"$out/debs"
	cp "$K/boot/vmlinuz-$(cat "$out/release")" "$out/Image"
}

modules() { # gpio-sim and snd-dummy into the module tree
	local release src=linux-source-$series headers m
	release=$(cat "$out/release")
	headers=$K/usr/src/linux-headers-$release
	rm -rf "$out/mod"
	mkdir -p "$out/mod"
	tar -xJf "$K/usr/src/$src.tar.xz" -C "$out/mod" --transform 's,.*/,,' --transform 's,gpio-sim.c,gpio-sim-main.c,' \
		"$src"/drivers/gpio/{gpio-sim.c,gpiolib.h} "$src/kernel/irq/irq_sim.c" "$src/sound/drivers/dummy.c"
	# irq_to_desc is not exported to modules.
	sed -i 's/irq_to_desc(irqnum)/irq_data_to_desc(irq_get_irq_data(irqnum))/' "$out/mod/irq_sim.c"
	# Debian's modpost has 64-bit offsets for 32-bit targets too; nothing here loads by alias.
	sed -i '/MODULE_DEVICE_TABLE/d' "$out/mod/gpio-sim-main.c"
	cp "$here/Kbuild" "$out/mod/"
	sed -i "s#^include .*#include $K/usr/src/linux-headers-${release%-*}-common/Makefile#" "$headers/Makefile"
	rm -f "$headers/vmlinux" # no BTF, else it wants pahole
	make -C "$headers" M="$out/mod" DEB_BUILD_ARCH=amd64 DEB_HOST_ARCH="$deb" DEB_HOST_GNU_TYPE="$gnu" modules
	mkdir -p "$K/lib/modules/$release/extra"
	for m in gpio-sim snd-dummy; do
		"$gnu-strip" -g -o "$K/lib/modules/$release/extra/$m.ko" "$out/mod/$m.ko"
	done
	depmod -b "$K" "$release"
}

initramfs() { # only the wanted modules, busybox and init
	local release dir tree=$out/initrd m f
	release=$(cat "$out/release")
	dir=$tree/lib/modules/$release
	rm -rf "$tree"
	mkdir -p "$tree"/{bin,dev,proc,sys,board,tmp,etc} "$dir"
	for m in $boot $system $more; do
		modprobe -d "$K" -S "$release" --show-depends "$m" || die "$release has no module $m"
	done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | sort -u | while read -r f; do
		m=${f#"$K/lib/modules/$release/"}
		mkdir -p "$dir/${m%/*}"
		cp "$f" "$dir/$m"
	done
	cp "$K/lib/modules/$release"/modules.{order,builtin,builtin.modinfo} "$dir/"
	depmod -b "$tree" "$release"
	echo "$boot" >"$tree/etc/modules"
	echo "$system" >"$tree/etc/modules.system"
	cp "$out/busybox/bin/busybox" "$tree/bin/"
	install -m 755 "$here/init" "$tree/init"
	(cd "$tree" && find . -print0 | sort -z | cpio -0 -o -H newc -R 0:0 --quiet) | gzip -1n >"$out/initrd.gz.part"
	mv "$out/initrd.gz.part" "$out/initrd.gz"
}

mkdir -p "$out"
out=$(cd "$out" && pwd) CACHE=$(cd "$CACHE" && pwd) K=$out/kernel
export here CACHE flavour series deb gnu boot system more out K
step fetch 600 fetch
step unpack 120 unpack
step modules 300 modules
step initramfs 60 initramfs
rm -rf "$K" "$out/mod" "$out/initrd" "$out/busybox" # 1.2 GB that nothing needs again
echo "$key" >"$out/.stamp"
