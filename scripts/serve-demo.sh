#!/usr/bin/env bash
# `make serve-demo`: the service on this machine with the embedded cue index, a token, and its links. Ctrl-C ends it.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=target/serve-demo
port=${PORT:-8090}
mkdir -p "$dir"
cat >"$dir/ahwatch.toml" <<TOML
[server]
listen = "127.0.0.1:$port"

[controller]
name = "The demo on this machine"
contact = "whoever started it"

[journal]
path = "journal.db"
TOML

ahwatch=./target/release/ahwatch
name="demo-$(date +%s)"
token=$("$ahwatch" token create "$name" --role operator --days 1 --config "$dir/ahwatch.toml")
"$ahwatch" serve --config "$dir/ahwatch.toml" &
service=$!
trap 'kill -TERM $service 2>/dev/null; wait $service || true' EXIT
for _ in $(seq 100); do
    curl -sf "http://127.0.0.1:$port/livez" >/dev/null && break
    kill -0 $service 2>/dev/null || exit 1
    sleep 0.1
done
session=$(curl -sf "http://127.0.0.1:$port/v1/sessions" -H "Authorization: Bearer $token" -H 'Content-Type: application/json' \
    -d '{"source": {"kind": "webrtc"}, "panel": "cues", "purpose": "wellbeing"}')
join=$(printf '%s' "$session" | sed -E 's/.*"join_url":"([^"]+)".*/\1/')
cat <<TEXT

  Participant   $join
                open it, agree, and talk: camera and microphone of this browser are analysed on this machine
  Dashboard     http://127.0.0.1:$port/
                sign in with the token $token

Ctrl-C ends it. The journal is $dir/journal.db.
TEXT
wait $service
