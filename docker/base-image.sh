#!/bin/sh
# A base image from Debian's own packages, for a machine that may not pull one: base-image.sh NAME [PACKAGE...]
#
# It needs mmdebstrap and buildah, and says which Debian it is by the release of this machine.
set -eu
name=$1
shift
packages=python3,python3-venv,ca-certificates
for package; do packages=$packages,$package; done
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
folder=$(mktemp -d)
container=$(buildah from scratch)
trap 'rm -r "$folder"; buildah rm "$container" > /dev/null' EXIT
mmdebstrap --quiet --variant=minbase --include="$packages" \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
  --aptopt='Acquire::Languages "none"' "$release" "$folder/root.tar"
buildah add --quiet "$container" "$folder/root.tar" / > /dev/null
buildah commit --quiet "$container" "$name" > /dev/null
echo "$name"
