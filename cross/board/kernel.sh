#!/bin/bash
# Builds what one emulated board boots: Debian's own kernel, its modules and the
# two that it lacks (see Kbuild), and an initramfs with busybox and ./init.
#   kernel.sh [FLAVOUR]  ->  $CACHE/FLAVOUR/{Image,initrd.gz}     (flavours: arm64, armmp)
# Nothing is done when the inputs have not changed. No root is needed; Debian's
# address is the one that this machine's apt is set up with.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CACHE=${CACHE:-$here/../cache}
flavour=${1:-arm64}
export PATH=$PATH:/usr/sbin:/sbin LC_ALL=C

die() { echo "board: $*" >&2; exit 1; }

case $flavour in
arm64) series=6.1 release=6.1.0-50-arm64 deb=arm64 gnu=aarch64-linux-gnu ;;
armmp) series=6.1 release=6.1.0-50-armmp deb=armhf gnu=arm-linux-gnueabihf ;;
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
key=$(cat "$here"/{kernel.sh,init,Kbuild,pins} | sha256sum | cut -d' ' -f1)
[ "$(cat "$out/.stamp" 2>/dev/null)" = "$key" ] && exit 0

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

fetch() { # pinned packages -> $CACHE/debs
	local mirror who sum path file
	mirror=$(apt-get indextargets --format '$(REPO_URI)' | sed -n 's,/debian/$,,p' | head -n 1)
	[ -n "$mirror" ] || die "apt has no Debian archive set up"
	while read -r who sum path; do
		[ "$who" = "$flavour" ] || [ "$who" = "$series" ] || continue
		file=$CACHE/debs/${path##*/}
		[ -f "$file" ] && echo "$sum  $file" | sha256sum -c --quiet && continue
		echo "$path"
		curl -fsS --retry 3 --max-time 300 -o "$file.part" "$mirror/$path"
		echo "$sum  $file.part" | sha256sum -c --quiet
		mv "$file.part" "$file"
	done <"$here/pins"
}

unpack() { # -> $K: one tree of kernel, headers, source; busybox beside it
	local who sum path dir
	rm -rf "$K" "$out/busybox"
	mkdir -p "$K" "$out/busybox"
	while read -r who sum path; do
		[ "$who" = "$flavour" ] || [ "$who" = "$series" ] || continue
		dir=$K
		case $path in */busybox-static*) dir=$out/busybox ;; esac
		dpkg-deb -x "$CACHE/debs/${path##*/}" "$dir"
	done <"$here/pins"
	cp "$K/boot/vmlinuz-$release" "$out/Image"
}

modules() { # gpio-sim and snd-dummy into the module tree
	local src=linux-source-$series headers=$K/usr/src/linux-headers-$release m
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
	local tree=$out/initrd m f
	local dir=$tree/lib/modules/$release
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
export here CACHE flavour series release deb gnu boot system more out K
step fetch 600 fetch
step unpack 120 unpack
step modules 300 modules
step initramfs 60 initramfs
rm -rf "$K" "$out/mod" "$out/initrd" "$out/busybox" # 1.2 GB that nothing needs again
echo "$key" >"$out/.stamp"
