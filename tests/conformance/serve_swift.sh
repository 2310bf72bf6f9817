#!/usr/bin/env bash
# The real `swift deploy` (transformers backend), on CPU: serve_swift.sh MODEL PORT [further arguments]
# float32 for the reason that serve_vllm.sh gives. Telling it the prompt's ids (return_details) needs no flag.
set -euo pipefail
cache=${AHWATCH_CONFORMANCE:-${XDG_CACHE_HOME:-$HOME/.cache}/ahwatch-conformance}
model=$1 port=$2
shift 2
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 MODELSCOPE_OFFLINE=1 CUDA_VISIBLE_DEVICES= ENABLE_AUDIO_OUTPUT=0
export FPS=2 USE_AUDIO_IN_VIDEO=false OMP_NUM_THREADS=2
exec "$cache/venv-swift/bin/swift" deploy --model "$model" --model_type qwen3_omni_moe --infer_backend transformers \
    --torch_dtype float32 --attn_impl eager --host 127.0.0.1 --port "$port" --served_model_name base \
    --max_new_tokens 32 --max_batch_size 4 --log_interval 0 "$@"
