"""Random words: Philox4x32-10 (Salmon et al. 2011), which PyTorch keeps to itself."""

import torch


def philox(key, counter):
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    a, b, c, d = counter
    for _ in range(10):
        p0, p1 = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = p1 >> 32 ^ b ^ k0, p1 & 0xFFFFFFFF, p0 >> 32 ^ d ^ k1, p0 & 0xFFFFFFFF
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return [a, b, c, d]


# The published known answer.
assert philox(0, [0] * 4) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]

# Key and number of the draws, wider than 32 bits; what a stream is for.
KEY, NUMBER = 0x0123456789ABCDEF, 0x300000007
HALTING, DROPOUT, NOISE = 2, 3, 8


def words(blocks, purpose, site=0):
    """The words of the first blocks of a stream, block by block."""
    tail = [purpose + 256 * site, NUMBER & 0xFFFFFFFF, NUMBER >> 32]
    return torch.tensor([philox(KEY, [i, *tail]) for i in range(blocks)])


def unit(word):
    return (word >> 8).double() / 2**24


def drawn():
    """Key and number as the op reads them, low words first."""
    halves = [KEY & 0xFFFFFFFF, KEY >> 32, NUMBER & 0xFFFFFFFF, NUMBER >> 32]
    return torch.tensor(halves).to(torch.int32)
