#!/usr/bin/env bash
# The fault laboratory: every case of docs/reliability.md but those with targets of their own, then the scorecard.
#
#   scripts/faults.sh            all cases
#   scripts/faults.sh 1 14a      these
#   RECORD=1 scripts/faults.sh   all cases, and the scorecard into docs/reliability.md
set -euo pipefail
cd "$(dirname "$0")/.."
export RUST_BACKTRACE=0
# Case 13 has 160 participants in one service; 1,024 is what a shell is given by default, and may raise.
ulimit -Sn 4096 || true
target=${CARGO_TARGET_DIR:-target}
rm -rf "$target/tmp/faults"
cargo test --locked --all-features --test it --no-run
# What libfaketime can be preloaded to (case 11).
cargo build --locked --all-features --example plain_malloc
# One case at a time: what is measured must not be another case's work.
run() { cargo test -q --locked --all-features --test it "$@" --include-ignored --test-threads=1 --nocapture; }
failed=0
if [ $# -eq 0 ]; then
    run faults:: -- --skip faults::case::scorecard --skip case_23 || failed=1
else
    for case in "$@"; do
        run "case_${case}_" -- || failed=1
        compgen -G "$target/tmp/faults/*case_${case}_*.json" >/dev/null || {
            echo "faults: there is no case $case" >&2
            failed=1
        }
    done
fi
# Only of all cases: a part would replace the whole.
if [ -n "${RECORD-}" ] && [ $# -eq 0 ]; then export AHWATCH_RECORD=1; fi
if [ $# -eq 0 ]; then
    run faults::case::scorecard -- --exact || failed=1
else
    run faults::case::scorecard -- --exact || true
fi
exit $failed
