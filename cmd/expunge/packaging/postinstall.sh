#!/bin/sh
# Makes the user of the runs and its two folders; changes nothing that is there already.
# DPKG_ROOT is where dpkg installs to when that is not /.
set -e
root="${DPKG_ROOT:-}"
if ! grep -q '^expunge:' "$root/etc/passwd" 2>/dev/null; then
  if command -v systemd-sysusers >/dev/null; then
    systemd-sysusers ${root:+--root="$root"} "$root/usr/lib/sysusers.d/expunge.conf"
  else
    useradd --system ${root:+--prefix "$root"} --home-dir /var/lib/expunge --shell /usr/sbin/nologin expunge
  fi
fi
uid=$(grep '^expunge:' "$root/etc/passwd" | cut -d: -f3)
gid=$(grep '^expunge:' "$root/etc/passwd" | cut -d: -f4)
[ -d "$root/etc/expunge" ] || install -d -m 0750 -o 0 -g "$gid" "$root/etc/expunge"
[ -d "$root/var/lib/expunge" ] || install -d -m 0700 -o "$uid" -g "$gid" "$root/var/lib/expunge"
if [ -d /run/systemd/system ] && [ -z "$root" ]; then
  systemctl daemon-reload
fi
# The timer is not started: there is no config yet.
