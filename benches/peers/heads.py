"""The heads and the EM layer in plain PyTorch, forward and back, f32, two threads; nothing is masked on either side."""

import torch
from torch import nn
from torch.nn.functional import normalize, softmax

from common import measure

torch.set_num_threads(2)
torch.manual_seed(1)
WIDTH, FRAMES, TOKENS, BATCH = 512, 12, 32, 128


def leaf(*shape):
    return torch.randn(*shape, requires_grad=True)


def cosine(texts, videos):
    return normalize(texts, dim=-1) @ normalize(videos, dim=-1).T


def pooled(frames):
    return normalize(frames, dim=-1).mean(1)


class Block(nn.Module):
    """CLIP's residual block."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, WIDTH // 64, batch_first=True)
        self.expand, self.contract = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        self.first, self.second = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, x):
        y = self.first(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        y = self.expand(self.second(x))
        return x + self.contract(y * torch.sigmoid(1.702 * y))


def blocks():
    return nn.Sequential(*[Block() for _ in range(4)])


class MeanPooling(nn.Module):
    def forward(self, texts, frames, tokens):
        return cosine(texts, pooled(frames))


class SeqLstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(WIDTH, WIDTH, batch_first=True)

    def forward(self, texts, frames, tokens):
        return cosine(texts, pooled(self.lstm(frames)[0] + frames))


class SeqTransf(nn.Module):
    def __init__(self):
        super().__init__()
        self.positions, self.blocks = nn.Parameter(torch.randn(FRAMES, WIDTH)), blocks()

    def forward(self, texts, frames, tokens):
        return cosine(texts, pooled(self.blocks(frames + self.positions) + frames))


class TightTransf(nn.Module):
    def __init__(self):
        super().__init__()
        self.positions, self.blocks = nn.Parameter(torch.randn(1 + FRAMES, WIDTH)), blocks()
        self.norm, self.pooler, self.output = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 1)

    def forward(self, texts, frames, tokens):
        n, m = len(texts), len(frames)
        texts = texts[:, None, None].expand(n, m, 1, WIDTH)
        pairs = torch.cat([texts, frames[None].expand(n, m, FRAMES, WIDTH)], 2).reshape(n * m, 1 + FRAMES, WIDTH)
        first = self.pooler(self.norm(self.blocks(pairs + self.positions))[:, 0])
        return self.output(first * torch.sigmoid(1.702 * first)).reshape(n, m)


class Conditioned(nn.Module):
    """As EMCL-Net's code has it."""

    def forward(self, texts, frames, tokens):
        weights = softmax(torch.einsum("ad,bvd->abv", texts, frames) / 3, dim=-1)
        videos = torch.einsum("abv,bvd->abd", weights, frames)
        return torch.einsum("ad,abd->ab", normalize(texts, dim=-1), normalize(videos, dim=-1))


class XPool(nn.Module):
    """As X-Pool's code has it, with one head and no dropout."""

    def __init__(self):
        super().__init__()
        self.query, self.key, self.value, self.output, self.linear = (nn.Linear(WIDTH, WIDTH) for _ in range(5))
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(3))

    def forward(self, texts, frames, tokens):
        query = self.query(self.norms[0](texts))
        frames = self.norms[0](frames)
        key, value = self.key(frames), self.value(frames)
        weights = softmax(key @ query.T / WIDTH**0.5, dim=1)  # [videos, frames, texts]
        heard = self.norms[1](self.output(weights.transpose(1, 2) @ value))
        heard = self.norms[2](heard + self.linear(heard))
        return torch.einsum("ad,bad->ab", normalize(texts, dim=-1), normalize(heard, dim=-1))


class TokenWise(nn.Module):
    """As DRL's code has it."""

    def __init__(self, weighted):
        super().__init__()
        mlp = lambda: nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1))
        self.text, self.video = (mlp(), mlp()) if weighted else (None, None)

    def forward(self, texts, frames, tokens):
        cosines = torch.einsum("atd,bvd->abtv", normalize(tokens, dim=-1), normalize(frames, dim=-1))
        words, best = cosines.max(dim=-1)[0], cosines.max(dim=-2)[0]
        if self.text is None:
            return (words.mean(2) + best.mean(2)) / 2
        words = torch.einsum("abt,at->ab", words, softmax(self.text(tokens).squeeze(2), dim=-1))
        best = torch.einsum("abv,bv->ab", best, softmax(self.video(frames).squeeze(2), dim=-1))
        return (words + best) / 2


def step(name, head, pairs=BATCH):
    texts, frames, tokens = leaf(pairs, WIDTH), leaf(pairs, FRAMES, WIDTH), leaf(pairs, TOKENS, WIDTH)
    weight = torch.randn(pairs, pairs)

    def work():
        head.zero_grad(set_to_none=True)
        for inputs in (texts, frames, tokens):
            inputs.grad = None
        (head(texts, frames, tokens) * weight).sum().backward()

    measure(f"heads/{name}/{pairs}x{pairs}", "pytorch", work)


step("mean-pooling", MeanPooling())
step("seq-lstm", SeqLstm())
step("seq-transf", SeqTransf())
step("tight-transf", TightTransf(), pairs=16)
step("conditioned", Conditioned())
step("xpool", XPool())
step("token-wise", TokenWise(weighted=False))
step("token-wise-weighted", TokenWise(weighted=True))

items, start = torch.randn(BATCH * BATCH + BATCH, WIDTH), torch.randn(1, 32)


def direct(x):
    """As EMCL's code has it: bases of all items in every step."""
    bases = start.repeat(len(x), 1)
    for _ in range(9):
        channels = softmax(x.T @ bases, dim=1)
        channels = channels / (1e-6 + channels.sum(dim=0, keepdim=True))
        bases = x @ channels
        bases = bases / (1e-6 + bases.norm(dim=0, keepdim=True))
    return bases @ channels.T


def gram(x):
    """The same from second moments."""
    moments, products = x.T @ x, x.sum(0)[:, None] @ start
    for _ in range(9):
        channels = softmax(products, dim=1)
        channels = channels / (1e-6 + channels.sum(dim=0, keepdim=True))
        products = moments @ channels
        lengths = 1e-6 + (channels * products).sum(0).clamp_min(0).sqrt()
        products = products / lengths
    return x @ (channels / lengths) @ channels.T


with torch.no_grad():
    measure("emcl/direct/16512x512", "pytorch", lambda: direct(items))
    measure("emcl/gram/16512x512", "pytorch", lambda: gram(items))
