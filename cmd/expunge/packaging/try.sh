#!/usr/bin/env bash
# Installs the packages in clean roots, upgrades one from the version before with a store that
# an old version has written, removes it, and runs the image. Needs root, dpkg, rpm, and a
# static program that needs nothing else. `make package-try` calls this.
set -euo pipefail
cd "$(dirname "$0")/../../.."
out=$PWD/bin/package
work=$(mktemp -d)
trap 'umount "$work"/image 2>/dev/null || true; rm -rf "$work"' EXIT
say() { printf 'ok  %s\n' "$*"; }
die() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

(cd cmd/expunge/packaging && "${GO:-go}" test ./...) >/dev/null || die "the manifest for Kubernetes"
say "the manifest for Kubernetes is what its types say"

# The version before: what is packed is the same, the number is smaller.
VERSION=0.0.1 cmd/expunge/packaging/package.sh >/dev/null
mv "$out"/*.deb "$work/before.deb"
mv "$out"/*.rpm "$work/before.rpm"
cmd/expunge/packaging/package.sh
deb=$(ls "$out"/*.deb) rpm=$(ls "$out"/*.rpm) image=$(ls "$out"/*.oci.tar)

# clean ROOT: a system with a user database and nothing else.
clean() {
  mkdir -p "$1"/{etc,var/lib/dpkg/{info,updates,triggers},tmp,dev}
  : >"$1/var/lib/dpkg/status"
  echo 'root:x:0:0:root:/root:/bin/sh' >"$1/etc/passwd"
  echo 'root:x:0:' >"$1/etc/group"
}
dpkg_in() { dpkg --root="$1" --log=/dev/null --force-script-chrootless "${@:2}" >"$work/log" 2>&1 || { cat "$work/log" >&2; die "dpkg ${*:2}"; }; }
rpm_in() { rpm --root "$1" --nodeps "${@:2}" >"$work/log" 2>&1 || { cat "$work/log" >&2; die "rpm ${*:2}"; }; }

# lived ROOT: a user's own config and a store of before are put in.
lived() {
  gunzip -c testdata/store/v1.db.gz >"$1/var/lib/expunge/expunge.db"
  cp testdata/store/v1.key "$1/var/lib/expunge/expunge.key"
  echo 'vendors: {customergauge: {kind: customergauge, base_url: "http://127.0.0.1:1", client_id: a, client_secret: "${SECRET}", segments_agreed: true}}' >"$1/var/lib/expunge/expunge.yaml"
  echo 'SECRET=x' >"$1/etc/expunge/secrets.env"
  chown -R --reference="$1/var/lib/expunge" "$1/var/lib/expunge"
  chmod 600 "$1"/var/lib/expunge/* "$1/etc/expunge/secrets.env"
}
in_root() { (cd / && SECRET=x chroot "$1" /usr/bin/expunge "${@:2}" -c /var/lib/expunge/expunge.yaml); }
kept() { (cd "$1" && sha256sum var/lib/expunge/expunge.key var/lib/expunge/expunge.yaml etc/expunge/secrets.env); }

for kind in deb rpm; do
  root=$work/$kind
  clean "$root"
  case $kind in
    deb) dpkg_in "$root" -i "$work/before.deb" ;;
    rpm) # its scripts run in the root, which has no shell: they are the .deb's, which are tried
      rpm_in "$root" -i --noscripts "$work/before.rpm"
      DPKG_ROOT=$root sh cmd/expunge/packaging/postinstall.sh ;;
  esac
  chroot "$root" /usr/bin/expunge --version | grep -q '^expunge 0\.0\.1' || die "$kind: the version before is not installed"
  [ "$(stat -c '%a %U' "$root/var/lib/expunge" | cut -d' ' -f1)" = 700 ] || die "$kind: the state folder"
  grep -q '^expunge:.*:/var/lib/expunge:' "$root/etc/passwd" || die "$kind: no user"
  for f in usr/lib/systemd/system/expunge.{service,timer} usr/share/man/man1/expunge-run.1.gz usr/share/man/man7/expunge-csv.7.gz \
    usr/share/bash-completion/completions/expunge usr/share/doc/expunge/manual.html; do
    [ -s "$root/$f" ] || die "$kind: $f is missing"
  done
  say "$kind installed in a clean root"
  lived "$root"
  before=$(kept "$root")
  case $kind in
    deb) dpkg_in "$root" -i "$deb" ;;
    rpm) rpm_in "$root" -U --noscripts "$rpm" ;;
  esac
  ! chroot "$root" /usr/bin/expunge --version | grep -q '^expunge 0\.0\.1' || die "$kind: not upgraded"
  in_root "$root" run --for 1ns >"$work/log" 2>&1 || [ $? -eq 3 ] || { cat "$work/log" >&2; die "$kind: the run after the upgrade"; }
  people=$(in_root "$root" report 2>/dev/null | tail -n +2 | wc -l)
  [ "$people" -gt 0 ] || die "$kind: the old store does not open after the upgrade"
  say "$kind upgraded: the store of before has $people tasks, and its key, config and secrets are as they were"
  [ "$before" = "$(kept "$root")" ] || die "$kind: the upgrade changed what is the user's"
  case $kind in
    deb) dpkg_in "$root" -P expunge ;;
    rpm) rpm_in "$root" -e --noscripts expunge ;;
  esac
  [ ! -e "$root/usr/bin/expunge" ] && [ ! -e "$root/usr/lib/systemd/system/expunge.timer" ] || die "$kind: not removed"
  [ "$before" = "$(kept "$root")" ] && [ -s "$root/var/lib/expunge/expunge.db" ] || die "$kind: removing it took what is the user's"
  say "$kind removed: store, key, config and secrets are still there"
done

# The timer and the service, as systemd reads them.
if command -v systemd-analyze >/dev/null; then
  # The program is not installed on this machine: that alone may be said.
  systemd-analyze verify "$out/stage/expunge.service" "$out/stage/expunge.timer" >"$work/log" 2>&1 || true
  ! grep 'expunge\.\(service\|timer\)' "$work/log" | grep -v '/usr/bin/expunge is not executable\|Command .man ' || die "systemd does not like the units"
  say "systemd-analyze verify: nothing said of the units"
fi

# The image: its one layer, read-only, as the user that it names.
mkdir -p "$work/oci" "$work/image"
tar -xf "$image" -C "$work/oci"
blob() { echo "$work/oci/blobs/${1/:/\/}"; }
digest() { tr -d '[:space:]' <"$2" | grep -o "$1" | grep -o 'sha256:[0-9a-f]*' | head -1; }
manifest=$(blob "$(digest '"digest":"[^"]*"' "$work/oci/index.json")")
layer=$(digest '"layers":.*' "$manifest")
config=$(blob "$(digest '"config":{[^}]*}' "$manifest")")
grep -q '"User":"65532:65532"' "$config" || die "image: its user"
tar -xzf "$(blob "$layer")" -C "$work/image" --same-owner
mount --bind "$work/image" "$work/image"
mount -o remount,bind,ro "$work/image"
mkdir "$work/state" && chown 65532:65532 "$work/state" && mount --bind "$work/state" "$work/image/var/lib/expunge"
chroot --userspec=65532:65532 "$work/image" /usr/bin/expunge init -c /var/lib/expunge/expunge.yaml >/dev/null
chroot --userspec=65532:65532 "$work/image" /usr/bin/expunge schema status >/dev/null
! chroot --userspec=65532:65532 "$work/image" /usr/bin/expunge init -c /etc/expunge.yaml 2>/dev/null || die "image: its root can be written"
[ -s "$work/state/expunge.yaml" ] || die "image: nothing in the state folder"
umount "$work/image/var/lib/expunge" "$work/image"
say "image: runs as user 65532 on a read-only root, and writes its state folder only"
if command -v podman >/dev/null; then
  pod=(podman --storage-driver vfs --root "$work/podman" --runroot "$work/podrun")
  "${pod[@]}" pull -q "oci-archive:$image" >/dev/null && "${pod[@]}" images -q | head -1 | xargs -I{} "${pod[@]}" image inspect {} --format '{{.Config.User}} {{.Config.Entrypoint}}' | grep -q '65532:65532' || die "podman cannot read the image"
  if timeout 60 "${pod[@]}" run --rm --read-only --network none "oci-archive:$image" --version >"$work/log" 2>&1; then
    say "image: podman ran it: $(tail -1 "$work/log")"
  else
    say "image: podman reads it, and can run nothing on this machine: $(tail -1 "$work/log")"
  fi
fi
