#!/bin/sh
# Boots a folder with a Debian root as a machine of its own, with systemd as its
# process 1, in namespaces. Needs root, and no systemd outside.
#
#	unshare --mount boot.sh ROOT [read-only]
#
# It prints "up PID", which nsenter takes, and ends when that process does: killing
# that is pulling the plug. With read-only the root is that, and /var is empty
# and forgotten.
set -eu
root=$1 how=${2:-writable}
if [ "${3:-}" != inside ]; then
	mount --make-rprivate /
	# A branch of the tree of cgroups of its own, wherever the host has it.
	groups=$(mktemp -d)
	mount -t cgroup2 cgroup2 "$groups"
	branch=$groups/hushbell-$$
	mkdir "$branch"
	echo 0 >"$branch/cgroup.procs"
	unshare --mount --cgroup --pid --fork --kill-child --uts --ipc --net sh "$0" "$root" "$how" inside || true
	echo 0 >"$groups/cgroup.procs"
	# What was killed may take a moment to be gone.
	n=0
	until find "$branch" -depth -type d -exec rmdir {} + 2>/dev/null || [ "$n" = 50 ]; do
		n=$((n + 1))
		sleep 0.1
	done
	umount "$groups"
	rmdir "$groups"
	exit 0
fi
read -r pid _ </proc/self/stat # as those outside see it
hostname hushbell-test
ip link set lo up
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
for d in null zero full random urandom tty; do
	touch "dev/$d"
	mount --bind "/dev/$d" "dev/$d"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
if [ "$how" = read-only ]; then
	mount -t tmpfs -o mode=755 tmpfs var
	mount -o remount,bind,ro "$root"
fi
pivot_root . mnt
cd /
umount -l /mnt
mount --make-rshared / # credentials come to services by it
echo "up $pid"
exec env -i container=hushbell PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --log-target=journal --show-status=no >/dev/null 2>&1
