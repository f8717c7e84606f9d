"""Tiny pipelines of transformers with random weights and a tokenizer of ten words, made here: nothing is fetched."""

from __future__ import annotations

import os
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "film", "a", "very", "not")
TEXTS = ["a good film", "bad", "not a very good film", "not bad", "a word that nobody knows"]
LABELS = ("negative", "neutral", "positive")


def tokenizer() -> Any:
    """Words by white space, with the marks of BERT."""
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    marks = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=32, **marks)


def pipe(task: str, labels: tuple[str, ...] = LABELS, config: dict[str, Any] | None = None, **settings: Any) -> Any:
    """A pipeline for one of the tasks that are served; `settings` of the pipeline, `config` of its model."""
    torch.manual_seed(0)
    if task == "text-generation":
        shape = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 64, "bos_token_id": 2, "eos_token_id": 3}
        model = transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=len(WORDS), **shape))
        settings = {"max_new_tokens": 4, "do_sample": False, **settings}
    else:
        kind = {
            "text-classification": transformers.BertForSequenceClassification,
            "token-classification": transformers.BertForTokenClassification,
            "feature-extraction": transformers.BertModel,
        }[task]
        shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        named = {"id2label": dict(enumerate(labels)), "label2id": {name: i for i, name in enumerate(labels)}}
        model = kind(transformers.BertConfig(vocab_size=len(WORDS), max_position_embeddings=32, **shape, **named))
    for name, value in (config or {}).items():
        setattr(model.config, name, value)
    return transformers.pipeline(task, model=model.eval(), tokenizer=tokenizer(), **settings)
