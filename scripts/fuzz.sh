#!/usr/bin/env bash
# Runs the fuzz targets of fuzz/, JOBS (2) at a time, each for FOR seconds (600), at the lowest priority. ONLY=NAME,... chooses some.
# What is found stands in fuzz/artifacts/TARGET, and ends this with 1. What made new code run is kept in fuzz/grown.
# Needs a nightly compiler (rustup toolchain install nightly). A missing cargo-fuzz is built into target/tools.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${FOR:-600}
export PATH="$PWD/target/tools/bin:$PATH" RUST_BACKTRACE=0
if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "fuzz: there is no nightly compiler; rustup toolchain install nightly --profile minimal" >&2
    exit 2
fi
if ! command -v cargo-fuzz >/dev/null; then
    echo "fuzz: building cargo-fuzz into target/tools (minutes, once)"
    cargo install --quiet --locked --version 0.13.2 --root target/tools cargo-fuzz
fi

# Without AddressSanitizer: none of our code is unsafe, and it would only halve what is tried. Overflow and debug checks are on.
cargo +nightly fuzz build --sanitizer none
bin=fuzz/target/$(rustc +nightly -vV | sed -n 's/^host: //p')/release

# Journals and files of the targets are small and many.
TMPDIR=$(mktemp -d "$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")/ahwatch-fuzz.XXXXXX")
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT

one() {
    local target=$1 log=target/fuzz/$1.log ended=0
    mkdir -p "target/fuzz" "fuzz/grown/$target" "fuzz/artifacts/$target"
    nice -n 19 "$bin/$target" "fuzz/grown/$target" "fuzz/corpus/$target" -max_total_time="$seconds" -timeout=60 \
        -rss_limit_mb=3072 -print_final_stats=1 -artifact_prefix="fuzz/artifacts/$target/" >"$log" 2>&1 || ended=$?
    local runs covered
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    covered=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1 | cut -c 6-)
    echo "| $target | ${runs:-?} | ${covered:-?} | $([ "$ended" = 0 ] && echo none || echo "see $log") |"
    return "$ended"
}
export -f one
export bin seconds

echo "| target | executions | edges | findings |"
echo "|---|---|---|---|"
if [ -n "${ONLY:-}" ]; then tr ',' '\n' <<<"$ONLY"; else ls fuzz/corpus; fi | xargs -P "${JOBS:-2}" -I {} bash -c 'one {}'
