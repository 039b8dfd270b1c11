#!/bin/bash
# Makes the Debian root that the package is tried in: root.sh FILE.tar. It is made
# once, and again when this script has changed.
set -euo pipefail
out=$1
key=$(sha256sum <"$0" | cut -d' ' -f1)
packages=systemd-sysv,dbus-user-session,libpam-systemd,udev,apt,init-system-helpers,procps,usr-is-merged,pulseaudio,pulseaudio-utils,pipewire,pipewire-pulse,wireplumber
mirror=$(apt-get indextargets --format '$(REPO_URI)' | sed -n 's,/debian/$,,p' | head -n 1)
[ -n "$mirror" ] || { echo 'root.sh: apt has no Debian archive set up' >&2; exit 1; }
mkdir -p "$(dirname "$out")"
exec 9>"$out.lock"
flock -w 900 9 || { echo "root.sh: another build holds $out.lock" >&2; exit 1; }
[ -s "$out" ] && [ "$(cat "$out.stamp" 2>/dev/null)" = "$key" ] && exit 0
rm -f "$out.stamp"
mmdebstrap --quiet --format=tar --mode=root --variant=essential --include="$packages" \
	--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
	--aptopt='APT::Install-Recommends "false"' --dpkgopt=force-unsafe-io \
	--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
	--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/hushbell/*' \
	--customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*' \
	bookworm "$out.part" "$mirror/debian"
mv "$out.part" "$out"
echo "$key" >"$out.stamp"
