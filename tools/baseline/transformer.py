"""The plain encoder of `arc-simple` as a PyTorch module: embedding + sinusoids, encoder layers, a head."""

from typing import NamedTuple

import torch
from torch import nn

from hrm_seed import sinusoids


class Config(NamedTuple):
    seq_len: int
    vocab_size: int
    hidden_size: int
    num_heads: int
    layers: int
    dropout: float = 0.1


class Transformer(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        c = cfg.hidden_size
        self.token_embedding = nn.Embedding(cfg.vocab_size, c)
        layer = nn.TransformerEncoderLayer(c, cfg.num_heads, 4 * c, cfg.dropout, batch_first=True)
        self.transformer = nn.TransformerEncoder(layer, cfg.layers, enable_nested_tensor=False)
        self.output = nn.Linear(c, cfg.vocab_size)
        self.register_buffer("positions", sinusoids(cfg.seq_len, c), persistent=False)

    def forward(self, tokens):
        """(B, S) to logits (B, S, V)"""
        return self.output(self.transformer(self.token_embedding(tokens) + self.positions))
