#!/usr/bin/env bash
# cargo-deny over deny.toml: bans, licences and sources always; advisories where their database can be reached.
# A missing cargo-deny is built into target/tools.
set -euo pipefail
cd "$(dirname "$0")/.."

PATH="$PWD/target/tools/bin:$PATH"
if ! command -v cargo-deny >/dev/null; then
    echo "audit: building cargo-deny into target/tools (minutes, once)"
    cargo install --quiet --locked --version 0.20.2 --root target/tools cargo-deny
fi

cargo deny --locked check --hide-inclusion-graph bans licenses sources

# Fetching and judging are two steps, so that a network that is away is told from an advisory that was found.
if timeout 60 cargo deny --locked fetch db >target/advisories.log 2>&1; then
    cargo deny --locked check --disable-fetch advisories
else
    echo "advisories: not checked (the database could not be reached; see target/advisories.log)"
fi
