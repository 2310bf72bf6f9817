#!/usr/bin/env bash
# The real vLLM, on CPU: serve_vllm.sh MODEL PORT [further arguments of `vllm serve`]
#
# The flags are those of deploy/vllm, but for what a CPU asks for. float32: in bfloat16 a log-probability of these models
# is a multiple of 0.004, which would hide what is compared.
set -euo pipefail
cache=${AHWATCH_CONFORMANCE:-${XDG_CACHE_HOME:-$HOME/.cache}/ahwatch-conformance}
model=$1 port=$2
shift 2
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1 VLLM_MEDIA_URL_ALLOW_REDIRECTS=0
export VLLM_CPU_KVCACHE_SPACE=1 OMP_NUM_THREADS=2 VLLM_CPU_OMP_THREADS_BIND=nobind
exec "$cache/venv-vllm/bin/vllm" serve "$model" --served-model-name=base --host=127.0.0.1 --port="$port" \
    --dtype=float32 --enforce-eager --max-num-seqs=8 \
    --max-model-len=8192 \
    --limit-mm-per-prompt='{"video": 1, "audio": 1, "image": 0}' \
    --generation-config=vllm \
    --enable-prompt-tokens-details \
    --enable-request-id-headers \
    --allowed-media-domains=none.invalid \
    "$@"
