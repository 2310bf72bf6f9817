#!/usr/bin/env bash
# What the program is made of, as CycloneDX 1.5 JSON: target/sbom/ahwatch.cdx.json. Crates with versions, hashes, licences and who
# needs whom, from Cargo.lock. What is opened at run time (GStreamer, ONNX Runtime) and the models are in docs/security.md.
# A missing cargo-cyclonedx is built into target/tools.
set -euo pipefail
cd "$(dirname "$0")/.."

export PATH="$PWD/target/tools/bin:$PATH"
if ! command -v cargo-cyclonedx >/dev/null; then
    echo "sbom: building cargo-cyclonedx into target/tools (minutes, once)"
    cargo install --quiet --locked --version 0.5.9 --root target/tools cargo-cyclonedx
fi

mkdir -p target/sbom
# A fixed time makes the same lock file the same list.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || echo 0)
export SOURCE_DATE_EPOCH
cargo cyclonedx --format json --spec-version 1.5 --describe crate --target all --no-build-deps --override-filename ahwatch.cdx -q
mv ahwatch.cdx.json target/sbom/
echo "target/sbom/ahwatch.cdx.json: $(grep -c '"purl"' target/sbom/ahwatch.cdx.json) packages"
