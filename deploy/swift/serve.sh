#!/usr/bin/env bash
# One judge's server with ms-swift: serve.sh CHECKPOINT PORT NAME [further arguments of `swift deploy`]
# Not run here on a GPU; on CPU with tiny models by `make conformance`. ms-swift: pip install ms-swift==4.6.0 qwen-omni-utils
#
#   swift export --model /srv/models/base --model_type qwen3_omni_moe --adapters /srv/models/v1 \
#       --merge_lora true --output_dir /srv/models/v1-merged          # once: adapters break this server
#   CUDA_VISIBLE_DEVICES=0 serve.sh /srv/models/v1-merged 8001 ah-v1
#   CUDA_VISIBLE_DEVICES=1 serve.sh /srv/models/v2 8002 ah-v2
#   CUDA_VISIBLE_DEVICES=2 serve.sh /srv/models/v3 8003 ah-v3
set -euo pipefail
checkpoint=$1 port=$2 name=$3
shift 3
export HF_HUB_OFFLINE=1 ENABLE_AUDIO_OUTPUT=0
# As in training.
export FPS=2 USE_AUDIO_IN_VIDEO=false
exec swift deploy --model "$checkpoint" --model_type qwen3_omni_moe --served_model_name "$name" \
    --infer_backend transformers --torch_dtype bfloat16 --attn_impl flash_attn \
    --host 127.0.0.1 --port "$port" --max_new_tokens 32 --max_batch_size 4 "$@"
