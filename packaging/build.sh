#!/bin/sh
# build.sh [DIRECTORY] builds the packages, a .deb and an .rpm for amd64 and
# arm64, into DIRECTORY (dist). What comes out depends on the commit alone, not
# on when and where it is built.
set -eu

nfpm=github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2

cd "$(dirname "$0")"
root=$(cd .. && pwd)
mkdir -p "${1:-$root/dist}"
out=$(cd "${1:-$root/dist}" && pwd)

VERSION=$(sed -n 's/^VERSION := //p' "$root/Makefile")
released=$(sed -n 's/^## //p;/^## /q' "$root/CHANGELOG.md")
if [ -z "$VERSION" ] || [ "${released%% *}" != "$VERSION" ]; then
	echo "build.sh: the Makefile says version '$VERSION', the head of CHANGELOG.md '$released'" >&2
	exit 1
fi
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct)}
# Whoever publishes packages says who they are.
MAINTAINER=${MAINTAINER:-The postsrsd authors <postsrsd@example.org>}
STAGE=$(mktemp -d)
trap 'rm -rf "$STAGE"' EXIT
export VERSION MAINTAINER SOURCE_DATE_EPOCH ARCH

gzip -9 -n <man/postsrsd.8 >"$STAGE/postsrsd.8.gz"
gzip -9 -n <man/postsrsd.5 >"$STAGE/postsrsd.5.gz"
gzip -9 -n <"$root/CHANGELOG.md" >"$STAGE/changelog.gz"
cat >"$STAGE/changelog.yaml" <<EOF
- semver: $VERSION-1
  date: $(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
  packager: $MAINTAINER
  deb:
    urgency: medium
    distributions: [unstable]
  changes:
    - note: Release $VERSION. What changed is in the changelog of the program.
EOF
{
	printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n'
	printf 'Files: *\nCopyright: %s\nLicense: Expat\n' "$(sed -n 's/^Copyright (c) //p' "$root/LICENSE")"
	sed '1,/^Copyright/d;1,/./{/^$/d};s/^$/./;s/^/ /' "$root/LICENSE"
} >"$STAGE/copyright"
sed 's/^[A-Z]/#&/' settings >"$STAGE/sysconfig"
# Where nfpm puts in no variables by itself.
sed "s|\${STAGE}|$STAGE|" nfpm.yaml >"$STAGE/nfpm.yaml"

rm -f "$out"/postsrsd[_-]*.deb "$out"/postsrsd[_-]*.rpm
for ARCH in amd64 arm64; do
	CGO_ENABLED=0 GOOS=linux GOARCH=$ARCH go -C "$root" build -trimpath -buildvcs=false \
		-ldflags "-s -w -X main.version=$VERSION" -o "$STAGE/postsrsd" ./cmd/postsrsd
	# Some of nfpm's times come from the files.
	find "$STAGE" -exec touch -d "@$SOURCE_DATE_EPOCH" {} +
	for format in deb rpm; do
		go run $nfpm package --config "$STAGE/nfpm.yaml" --packager $format --target "$out/"
	done
done
