#!/usr/bin/env bash
# Packs what a machine without network access needs, beside the checkout, to run the GPU campaign: a folder
# below 60 MB.
#
#     benchmarks/gpu/pack.sh DEST [--cifar10 ARCHIVE] [--mtt CHECKOUT] [--tesla CHECKOUT]
#
# Expected there: Python 3.12 on x86-64 Linux with torch for CUDA, numpy, h5py, safetensors, click, rich,
# matplotlib, scikit-learn, pillow, ml-dtypes, threadpoolctl, pytest and hypothesis. This script adds the wheels
# of WHEELS, at fixed versions. On that machine, in the checkout, with folders SITE and OUT of your choice:
#
#     python3 -m pip install --no-index --no-deps --target SITE DEST/wheels/*.whl
#     PYTHONPATH=SITE python3 benchmarks/gpu/campaign.py --out OUT --mtt DEST/mtt --tesla DEST/tesla \
#         --cifar10 DEST/cifar10.tar.xz
set -euo pipefail

WHEELS=(zstandard==0.25.0 zlib_ng==1.1.0 msgspec==0.22.0 kornia==0.9.0 kornia_rs==0.2.0)
LIMIT_MB=60

fail() { echo "error: $1" >&2; exit 2; }

[ $# -ge 1 ] && [ "${1#--}" = "$1" ] || fail "usage: pack.sh DEST [--cifar10 ARCHIVE] [--mtt CHECKOUT] [--tesla CHECKOUT]"
dest=$1
shift
[ ! -e "$dest" ] || fail "$dest exists; remove it, or name another folder"
cifar10='' mtt='' tesla=''
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || fail "$1 needs a value"
    [ -e "$2" ] || fail "$2: no such file or folder"
    case $1 in
        --cifar10) cifar10=$2 ;;
        --mtt) mtt=$2 ;;
        --tesla) tesla=$2 ;;
        *) fail "unknown option $1" ;;
    esac
    shift 2
done
[ -z "$cifar10" ] || [ -f "$cifar10" ] || fail "$cifar10: expected an archive"
for checkout in "$mtt" "$tesla"; do
    [ -z "$checkout" ] || [ -f "$checkout/distill.py" ] ||
        fail "$checkout: no distill.py; expected a checkout of the reference"
done

partial=$(mktemp -d "$dest.XXXXXX")
trap 'rm -rf "$partial"' EXIT

platforms=()
for version in 2_28 2_27 2_17; do platforms+=(--platform "manylinux_${version}_x86_64"); done
"${PYTHON:-python3}" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --implementation cp --python-version 3.12 "${platforms[@]}" --platform manylinux2014_x86_64 \
    --dest "$partial/wheels" "${WHEELS[@]}"

for name in mtt tesla; do # their programs alone
    checkout=${!name}
    [ -n "$checkout" ] || continue
    mkdir "$partial/$name"
    cp "$checkout"/*.py "$partial/$name/"
done
[ -z "$cifar10" ] || cp "$cifar10" "$partial/cifar10.tar.xz"

size=$(du -sm "$partial" | cut -f1)
[ "$size" -lt "$LIMIT_MB" ] || fail "the folder takes $size MB, and must stay below $LIMIT_MB"
mv "$partial" "$dest"
chmod 755 "$dest"
trap - EXIT
echo "$dest: $size MB"
