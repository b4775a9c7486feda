#!/usr/bin/env bash
# Builds the .deb, the .rpm and the OCI image into bin/package. `make package` calls this.
set -euo pipefail
cd "$(dirname "$0")/../../.."
go=${GO:-go}
here=$PWD/cmd/expunge/packaging
out=$PWD/bin/package
ARCH=$("$go" env GOARCH)
# Without a tag the version is of the commit: later ones sort after earlier ones.
VERSION=${VERSION:-$(git describe --tags --match 'v[0-9]*' 2>/dev/null | sed 's/^v//' || true)}
VERSION=${VERSION:-0.0.$(git rev-list --count HEAD)+$(git rev-parse --short=12 HEAD)}
export ARCH VERSION

rm -rf "$out"
mkdir -p "$out/stage/man" "$out/stage/completions"
cd "$out/stage"
cp "$here"/expunge.* "$here"/{post,pre}*.sh "$here"/nfpm.yaml .

# Static, so that one file runs on every Linux of this architecture: the resolver and the
# user database are Go's own, and SQLite loads no extensions.
(cd "$OLDPWD" && CGO_ENABLED=1 "$go" build -trimpath -tags 'netgo osusergo sqlite_omit_load_extension' \
  -ldflags "-s -w -X main.release=$VERSION -linkmode external -extldflags -static" -o "$out/stage/expunge" ./cmd/expunge)
./expunge man man
./expunge man --html .
gzip -9n man/*
for shell in bash zsh fish; do ./expunge completion $shell >completions/$shell; done

for format in deb rpm; do
  (cd "$here" && "$go" tool nfpm --version >/dev/null) # builds it once, with its own module
  nfpm=$(cd "$here" && "$go" tool -n nfpm)
  "$nfpm" package --config nfpm.yaml --packager $format --target "$out/" >/dev/null
done
(cd "$here" && "$go" run ./image "$out/stage/expunge" /etc/ssl/certs/ca-certificates.crt "$VERSION" "$out/image")
tar -C "$out/image" --sort=name --mtime=@0 --owner=0 --group=0 -cf "$out/expunge-$VERSION.oci.tar" .
rm -rf "$out/image"
ls -l "$out" | awk 'NR > 1 && $9 != "stage" {print $5, "bytes", "bin/package/" $9}'
