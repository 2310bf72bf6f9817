#!/usr/bin/env bash
# Brings what ahwatch needs onto a Debian 12/13 or Ubuntu 22.04/24.04 machine: system packages, then ONNX Runtime.
#
#   scripts/setup.sh          to build and run
#   scripts/setup.sh --test   and to run all tests
#   scripts/setup.sh --conformance   and for `make conformance`
#
# Only packages that are missing are asked for: once set up, it needs neither root nor network. SKIP_APT=1 leaves
# system packages alone. sudo is used only by who is not root.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(
    gcc make libc6-dev pkg-config                                   # to link; TLS and jemalloc are in C
    libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev
    gstreamer1.0-plugins-base gstreamer1.0-plugins-good             # decodebin, rtspsrc, jpegenc
    gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly              # parsers, x264enc
    gstreamer1.0-libav                                              # H.264 and AAC decoding
    gstreamer1.0-alsa gstreamer1.0-pulseaudio gstreamer1.0-pipewire # microphones and cameras of this machine
    glib-networking ca-certificates                                 # TLS of rtsps://
    python3 python3-pip                                             # fetch ONNX Runtime's wheel
)
test_packages=(
    libgstrtspserver-1.0-dev                                        # the RTSP server of the tests
    pulseaudio pulseaudio-utils                                     # their microphones
    pipewire wireplumber dbus gstreamer1.0-tools                    # their webcam
    strace                                                          # who watches what they write
    libnss-wrapper libfaketime                                      # names and clocks that change while it runs
    chromium                                                        # a participant's browser
    mosquitto                                                       # the MQTT broker of the tests
    python3-venv                                                    # the reference library of webhooks
    ffmpeg python3-yaml                                             # benches: what the published scripts use
    chromium                                                        # a real browser, for the pages
)
# Any node from 18 on will do; Debian's only where there is none.
command -v npm >/dev/null || test_packages+=(nodejs npm)
conformance_packages=(
    python3-venv ffmpeg libnuma1                                    # vLLM and ms-swift on CPU, and the media of training
)

tests=0
for argument in "$@"; do
    case "$argument" in
    --test)
        tests=1
        packages+=("${test_packages[@]}")
        ;;
    --conformance) packages+=("${conformance_packages[@]}") ;;
    *)
        echo "setup: unknown argument $argument (known: --test, --conformance)" >&2
        exit 2
        ;;
    esac
done

if ! command -v cargo >/dev/null; then
    echo "setup: Rust is missing; install it from https://rustup.rs, then open a new shell" >&2
    exit 1
fi

missing=()
if [ "${SKIP_APT:-0}" = 1 ]; then
    echo "setup: SKIP_APT=1, system packages are left alone"
elif ! command -v dpkg-query >/dev/null; then
    echo "setup: no Debian or Ubuntu; install what corresponds to: ${packages[*]}" >&2
    echo "setup: then say SKIP_APT=1" >&2
    exit 1
else
    for package in "${packages[@]}"; do
        state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
        [ "$state" = installed ] || missing+=("$package")
    done
fi

if [ ${#missing[@]} -gt 0 ]; then
    echo "setup: installing ${missing[*]}"
    root=()
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || {
            echo "setup: root is needed for: apt-get install ${missing[*]}" >&2
            exit 1
        }
        root=(sudo)
    fi
    "${root[@]}" apt-get update -qq
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

scripts/fetch_onnxruntime.sh

# The reference library that webhooks are verified by; without it that part of a test is skipped, and says so.
for argument in "$@"; do
    if [ "$argument" = --test ] && [ ! -x target/webhook-python/bin/python ]; then
        { python3 -m venv target/webhook-python && target/webhook-python/bin/pip install -q standardwebhooks==1.1.0; } ||
            echo "setup: Python's standardwebhooks could not be installed; its test will be skipped"
    fi
done

# Playwright without a browser of its own, for the tests of the pages.
if [ "$tests" = 1 ] && ! [ tests/web/node_modules/.package-lock.json -nt tests/web/package-lock.json ]; then
    npm ci --prefix tests/web --no-audit --no-fund --loglevel error && touch tests/web/node_modules/.package-lock.json ||
        echo "setup: npm's registry did not give Playwright; the tests of the pages will be left out" >&2
fi
