#!/usr/bin/env bash
# Brings libonnxruntime.so 1.31.1 (MIT) with its licence files from PyPI's wheel into DIR
# (default third_party/onnxruntime). Wheel and library are pinned by hash. Does nothing, and needs no
# network, when the right library is already there.
#
#   scripts/fetch_onnxruntime.sh [DIR]
#
# ARCH=x86_64 or ARCH=aarch64 overrides the machine's own architecture.
set -euo pipefail

version=1.31.1
arch=${ARCH:-$(uname -m)}
dir=${1:-third_party/onnxruntime}

case "$arch" in
x86_64 | amd64)
    platform=manylinux_2_28_x86_64
    wheel_sha=5752bd508126ae7c49894d3b9d2e83f0c3d487319246d04c444b393308d7ad7f
    library_sha=fc44112fbe06d7d689c57e11d3862031f64711007e4ee020f8eed5185fd2c1d3
    ;;
aarch64 | arm64)
    platform=manylinux_2_28_aarch64
    wheel_sha=da05378364c44d4407e463982d2bf8d5e4cfea873283757e48beeb41df97b7f3
    library_sha=8aa3b76b28c778a2b1dd660d34161adb1d508c9ccd04ff9dc80e26eca5df8467
    ;;
*)
    echo "fetch_onnxruntime: no pinned wheel for $arch; install ONNX Runtime >= 1.17 yourself and set ORT_DYLIB_PATH to its libonnxruntime.so" >&2
    exit 1
    ;;
esac

has() { echo "$1  $2" | sha256sum --check --status 2>/dev/null; }

if [ -f "$dir/libonnxruntime.so" ] && [ -f "$dir/LICENSE" ] && has "$library_sha" "$dir/libonnxruntime.so"; then
    echo "fetch_onnxruntime: $dir/libonnxruntime.so $version is there already"
    exit 0
fi

if ! python3 -m pip --version >/dev/null 2>&1; then
    echo "fetch_onnxruntime: python3 with pip is needed (Debian: apt-get install python3-pip)" >&2
    exit 1
fi

mkdir -p "$dir"
# Beside the destination, so that the final move is atomic.
work=$(mktemp -d "$dir/.fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT

python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --implementation cp --python-version 3.11 --abi cp311 --platform "$platform" \
    --dest "$work" "onnxruntime==$version"
wheel=$(echo "$work"/*.whl)
if ! has "$wheel_sha" "$wheel"; then
    echo "fetch_onnxruntime: $(basename "$wheel") has sha256 $(sha256sum "$wheel" | cut -d' ' -f1), expected $wheel_sha" >&2
    exit 1
fi

python3 - "$wheel" "$work" "$version" <<'PY'
import os, sys, zipfile
wheel, out, version = sys.argv[1:]
with zipfile.ZipFile(wheel) as z:
    for member, name in (
        (f"onnxruntime/capi/libonnxruntime.so.{version}", "libonnxruntime.so"),
        ("onnxruntime/LICENSE", "LICENSE"),
        ("onnxruntime/ThirdPartyNotices.txt", "ThirdPartyNotices.txt"),
    ):
        with open(os.path.join(out, name), "wb") as f:
            f.write(z.read(member))
PY
if ! has "$library_sha" "$work/libonnxruntime.so"; then
    echo "fetch_onnxruntime: the library in the wheel does not have the pinned hash $library_sha" >&2
    exit 1
fi
mv "$work/LICENSE" "$work/ThirdPartyNotices.txt" "$dir/"
mv "$work/libonnxruntime.so" "$dir/libonnxruntime.so"
echo "fetch_onnxruntime: $dir/libonnxruntime.so $version ($platform)"
