# ruff: noqa: S106 - a script; the "tokens" are those of a tokenizer
"""Makes a tiny language model with random weights, and an adapter for it: no network, a second.

    python make_model.py FOLDER        # FOLDER/model, FOLDER/adapter

Run by the Python that has vLLM. The tokenizer knows single bytes and the commonest pairs of a few
sentences; what the model says means nothing, and is always the same.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TEXT = """A prompt is released when it is no worse than what runs today. Every case is run on both,
       the candidate and the baseline, and the answers are compared case by case. What was not
       measured is never counted as a pass. {"verdict": "pass", "score": 1, "statements": ["one"]}
       """
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LONGEST = 16384
WIDTH, RANK = 64, 8


def tokenizer() -> PreTrainedTokenizerFast:
    """Bytes and common pairs, with the turns of a chat."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(TEXT.splitlines(), trainer)
    whole = PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="<|im_end|>", pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
    )  # fmt: skip
    whole.chat_template = TEMPLATE
    whole.model_max_length = LONGEST
    return whole


def main(folder: Path) -> None:
    """Writes the model and the adapter into `folder`."""
    torch.manual_seed(0)
    words = tokenizer()
    words.save_pretrained(folder / "model")
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=WIDTH, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=LONGEST,
        bos_token_id=words.convert_tokens_to_ids("<|im_start|>"),
        eos_token_id=words.convert_tokens_to_ids("<|im_end|>"),
        pad_token_id=0, tie_word_embeddings=False,
    )  # fmt: skip
    LlamaForCausalLM(config).to(torch.float32).save_pretrained(folder / "model")
    adapter = folder / "adapter"
    adapter.mkdir(exist_ok=True)
    tensors = {}
    for layer in range(2):
        name = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        tensors[f"{name}.lora_A.weight"] = torch.randn(RANK, WIDTH)
        tensors[f"{name}.lora_B.weight"] = torch.randn(WIDTH, RANK)
        name = f"base_model.model.model.layers.{layer}.self_attn.v_proj"
        tensors[f"{name}.lora_A.weight"] = torch.randn(RANK, WIDTH)
        tensors[f"{name}.lora_B.weight"] = torch.randn(WIDTH, RANK)
    save_file(tensors, adapter / "adapter_model.safetensors")
    about = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": 2 * RANK,
        "lora_dropout": 0.0, "bias": "none", "target_modules": ["q_proj", "v_proj"],
        "base_model_name_or_path": "model",
    }  # fmt: skip
    (adapter / "adapter_config.json").write_text(json.dumps(about), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
