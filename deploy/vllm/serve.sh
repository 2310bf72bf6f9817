#!/usr/bin/env bash
# One judge's server without containers: serve.sh MODEL PORT [further arguments of `vllm serve`]
# Not run here, for want of a GPU; what each flag is for: ../README.md. vLLM: pip install "vllm[audio]==0.32.0"
#
#   export VLLM_API_KEY=...                      # the panel's AH_GPU_KEY
#   CUDA_VISIBLE_DEVICES=0 serve.sh /srv/models/v1-merged 8001 --served-model-name=ah-v1
#   CUDA_VISIBLE_DEVICES=1 serve.sh /srv/models/v2 8002 --served-model-name=ah-v2
#   CUDA_VISIBLE_DEVICES=2 serve.sh /srv/models/v3 8003 --served-model-name=ah-v3
#
# v1-merged is the adapter in its base model; ../README.md says how to merge it. An adapter with nothing on the towers of sound and pictures
# can be served as it is:
#   serve.sh /srv/models/base 8001 --served-model-name=base \
#       --enable-lora --max-lora-rank=8 --max-loras=1 --lora-modules=ah-v1=/srv/models/v1
#
# Checkpoints of time_scale = 2.0: without --mm-processor-kwargs.
set -euo pipefail
: "${VLLM_API_KEY:?set it to a long random word}"
model=$1 port=$2
shift 2
export HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 VLLM_MEDIA_URL_ALLOW_REDIRECTS=0
exec vllm serve "$model" --host=127.0.0.1 --port="$port" \
    --dtype=bfloat16 \
    --gpu-memory-utilization=0.90 \
    --max-model-len=8192 \
    --max-num-seqs=32 \
    --limit-mm-per-prompt='{"video": 1, "audio": 1, "image": 0}' \
    --mm-processor-kwargs='{"fps": 2}' \
    --generation-config=vllm \
    --enable-prompt-tokens-details \
    --enable-request-id-headers \
    --allowed-media-domains=none.invalid \
    "$@"
