#!/bin/bash
# Builds the disk that an emulated board with systemd boots from: Debian 12 as
# mmdebstrap makes it, and beside what Debian has only what makes a board of it:
# the network by DHCP, the host's agent (./agent), and no services that a board
# under test has no use for.
#   root.sh ARCH  ->  $CACHE/root-ARCH.sqfs     (arm64, armhf)
# It must run as root of a user namespace of its own with all ids mapped (see
# rig.Root): it registers the emulator for ARM programs there. Nothing is done
# when the inputs have not changed.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CACHE=${CACHE:-$here/../cache}
arch=$1
export PATH=$PATH:/usr/sbin:/sbin LC_ALL=C

die() { echo "board: root: $*" >&2; exit 1; }

case $arch in
arm64) cpu=aarch64 ;;
armhf) cpu=arm ;;
*) die "no architecture $arch" ;;
esac
# What a fresh Debian has, and alsa-utils: aplay and arecord are the mouth and
# the ear at the board's sound card.
packages=systemd-sysv,dbus,udev,kmod,iproute2,procps,apt,alsa-utils,usr-is-merged

mkdir -p "$CACHE/log"
exec 9>"$CACHE/.lock-$arch"
flock -w 900 9 || die "another build holds $CACHE/.lock-$arch"
out=$CACHE/root-$arch.sqfs
key=$(sha256sum <"$here/root.sh" | cut -d' ' -f1)
[ -f "$out" ] && [ "$(cat "$out.stamp" 2>/dev/null)" = "$key" ] && exit 0

mirror=$(apt-get indextargets --format '$(REPO_URI)' | sed -n 's,/debian/$,,p' | head -n 1)
[ -n "$mirror" ] || die "apt has no Debian archive set up"
work=$(mktemp -d "${TMPDIR:-/tmp}/boardroot.XXXXXX")
trap 'rm -rf "$work"' EXIT
chmod 755 "$work" # apt reads it as another user

mkdir -p "$work/add/etc/systemd/network" "$work/add/etc/systemd/system"
cat >"$work/add/etc/systemd/network/board.network" <<'END'
[Match]
Type=ether
[Network]
DHCP=ipv4
LinkLocalAddressing=no
IPv6AcceptRA=no
END
cat >"$work/add/etc/systemd/system/board-agent.service" <<'END'
[Unit]
Description=Does what the host asks
DefaultDependencies=no
After=systemd-journald.socket
[Service]
ExecStart=/board/agent
Restart=always
OOMScoreAdjust=-900
END
echo board >"$work/add/etc/hostname"
echo '127.0.0.1 localhost board' >"$work/add/etc/hosts"
: >"$work/add/etc/machine-id" # every board makes its own at the first boot

cat >"$work/hook" <<'END'
set -eu
root=$1
cp -a "$work/add/." "$root/"
in=/etc/systemd/system
mkdir -p "$root$in/multi-user.target.wants" "$root$in/sysinit.target.wants"
ln -sf /lib/systemd/system/multi-user.target "$root$in/default.target"
ln -sf "$in/board-agent.service" "$root$in/sysinit.target.wants/"
ln -sf /lib/systemd/system/systemd-networkd.service "$root$in/multi-user.target.wants/"
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
	e2scrub_reap.service fstrim.timer getty@tty1.service serial-getty@ttyAMA0.service \
	modprobe@drm.service modprobe@efi_pstore.service modprobe@fuse.service \
	modprobe@dm_mod.service modprobe@loop.service dev-hugepages.mount \
	sys-kernel-debug.mount sys-kernel-tracing.mount systemd-remount-fs.service \
	alsa-restore.service alsa-state.service; do
	ln -sf /dev/null "$root$in/$unit"
done
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* \
	"$root"/usr/share/{doc,man,locale,info,zoneinfo} "$root"/usr/lib/udev/hwdb.d
END

[ -e /proc/sys/fs/binfmt_misc/register ] || mount -t binfmt_misc none /proc/sys/fs/binfmt_misc ||
	die "this kernel gives a user namespace no binfmt_misc of its own (Linux 6.7 and later do)"
# Not as it comes: it must not matter what the machine itself has registered.
[ -e "/proc/sys/fs/binfmt_misc/qemu-$cpu" ] || cat "/usr/lib/binfmt.d/qemu-$cpu.conf" >/proc/sys/fs/binfmt_misc/register

began=$SECONDS
export work
log=$CACHE/log/root-$arch.log
rc=0
timeout -k 10 1200 mmdebstrap --mode=root --arch="$arch" --variant=essential --include="$packages" \
	--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
	--aptopt='APT::Sandbox::User "root"' --aptopt='APT::Install-Recommends "false"' --dpkgopt=force-unsafe-io \
	--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
	--dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/lib/*/perl/*/CORE/*' \
	--customize-hook="bash '$work/hook' \"\$1\"" bookworm "$work/root.tar" "$mirror/debian" >"$log" 2>&1 || rc=$?
[ "$rc" = 0 ] || { tail -n 60 "$log" >&2; die "mmdebstrap failed ($rc), whole log in $log"; }
tar2sqfs -q -f -c lz4 "$out.part" <"$work/root.tar" >>"$log" 2>&1 || { tail "$log" >&2; die "tar2sqfs failed, whole log in $log"; }
mv "$out.part" "$out"
echo "$key" >"$out.stamp"
echo "board: root of $arch in $((SECONDS - began)) s, $(($(stat -c %s "$out") >> 20)) MiB" >&2
