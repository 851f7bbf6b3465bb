"""Losses with their gradients in PyTorch: NCL by four sweeps, dual softmax, hinge, one loss for each stream, a weighted
sum, cross-captioning."""

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from common import cosines, measure

torch.set_num_threads(2)
torch.manual_seed(1)

SCALE, WIDTH, VOCABULARY, TOKENS, DECODER, TEMPERATURE, MARGIN = 100.0, 512, 1000, 14, 256, 0.1, 0.2


def column_bias(scores, sweeps=4):
    """The column first, then four times rows and columns, in the log domain."""
    log_r, log_c = -math.log(scores.shape[0]), -math.log(scores.shape[1])
    columns = log_c - torch.logsumexp(scores, 0, keepdim=True)
    for _ in range(sweeps):
        rows = log_r - torch.logsumexp(scores + columns, 1, keepdim=True)
        columns = log_c - torch.logsumexp(scores + rows, 0, keepdim=True)
    return columns


def both(forward, backward):
    targets = torch.arange(len(forward))
    return (functional.cross_entropy(forward, targets) + functional.cross_entropy(backward, targets)) / 2


def ncl(similarity):
    logits = similarity * SCALE
    return both(logits + column_bias(logits), logits.t() + column_bias(logits.t()))


def revised(logits):
    return logits * torch.softmax(logits / 1000, 0) * len(logits)


def dual_softmax(similarity):
    logits = similarity * SCALE
    return both(revised(logits), revised(logits.t()))


def hinge(similarity):
    """The hardest negative of each text and of each video."""
    own = torch.eye(len(similarity), dtype=torch.bool)
    diagonal = similarity.diagonal()[:, None]
    excess = [MARGIN - diagonal + side.masked_fill(own, float("-inf")) for side in (similarity, similarity.t())]
    return sum(side.max(1).values.clamp_min(0).mean() for side in excess)


def hinge_all(similarity, margin=0.05):
    """Every negative, one mean over both directions, as MMT's code has it."""
    own = torch.eye(len(similarity), dtype=torch.bool)
    diagonal = similarity.diagonal()[:, None]
    costs = [(margin - diagonal + side).clamp_min(0)[~own] for side in (similarity, similarity.t())]
    return torch.cat(costs).mean()


def symmetric(similarity):
    logits = similarity * SCALE
    return both(logits, logits.t())


def streams(similarity, parts):
    """The fused similarity, and each stream on the captions that have it."""
    terms = [symmetric(part[here][:, here]) for part, here in parts]
    return symmetric(similarity) + sum(terms) / len(terms)


def weighted(similarity):
    return hinge(similarity) + 0.5 * hinge_all(similarity)


class Decoder(nn.Module):
    """Two pre-norm layers, one prefix token, tied embeddings."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            DECODER, 4, 4 * DECODER, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.prefix = nn.Linear(WIDTH, DECODER)
        self.embedding = nn.Embedding(VOCABULARY, DECODER)
        self.positions = nn.Parameter(0.01 * torch.randn(TOKENS, DECODER))
        self.norm = nn.LayerNorm(DECODER)
        self.register_buffer("causal", nn.Transformer.generate_square_subsequent_mask(TOKENS))

    def forward(self, codes, ids, mask):
        before = self.embedding(ids[:, :-1])
        x = torch.cat([self.prefix(codes)[:, None], before], 1) + self.positions
        x = self.norm(self.blocks(x, mask=self.causal, is_causal=True)[mask])
        told = functional.cross_entropy(x @ self.embedding.weight.t(), ids[mask], reduction="none")
        shares = (1.0 / mask.sum(1, keepdim=True)).expand(mask.shape)[mask]
        return (told * shares).sum() / len(ids)


def support_set(similarity, texts, videos, decoder, ids, mask):
    own = torch.eye(len(similarity), dtype=torch.bool)
    cosine = functional.normalize(texts) @ functional.normalize(videos).t()
    weights = torch.softmax((cosine / TEMPERATURE).masked_fill(own, float("-inf")), 1)
    return hinge(similarity) + decoder(weights @ videos, ids, mask)


for size in (128, 1024):
    similarity = torch.from_numpy(cosines(size, size)).requires_grad_()

    def run(loss, *leaves):
        def work():
            for leaf in leaves:
                leaf.grad = None
            loss().backward()

        return work

    name = f"{size}x{size}/backward"
    measure(f"objectives/ncl-4/{name}", "torch", run(lambda: ncl(similarity), similarity))
    measure(f"objectives/dual-softmax/{name}", "torch", run(lambda: dual_softmax(similarity), similarity))
    measure(f"objectives/hinge/{name}", "torch", run(lambda: hinge(similarity), similarity))
    measure(f"objectives/hinge-all/{name}", "torch", run(lambda: hinge_all(similarity), similarity))
    here = [torch.tensor([text for text in range(size) if number == 3 or text % 7 != number]) for number in range(4)]
    parts = [(torch.from_numpy(cosines(size, size)).requires_grad_(), texts) for texts in here]
    leaves = [similarity, *(part for part, _ in parts)]
    measure(f"objectives/streams/{name}", "torch", run(lambda: streams(similarity, parts), *leaves))
    measure(f"objectives/weighted/{name}", "torch", run(lambda: weighted(similarity), similarity))
    if size == 128:
        at = np.arange(size * WIDTH, dtype=np.float32)
        leaves = [
            torch.from_numpy((np.sin(at * np.float32(turn)) / math.sqrt(WIDTH / 2)).reshape(size, WIDTH))
            for turn in (0.37, 0.73)
        ]
        texts, videos = [leaf.requires_grad_() for leaf in leaves]
        text, place = np.divmod(np.arange(size * TOKENS), TOKENS)
        ids = torch.from_numpy(((text * 7 + place * 13) % VOCABULARY).reshape(size, TOKENS))
        mask = torch.from_numpy((place < 6 + text % 9).reshape(size, TOKENS))
        decoder = Decoder()
        everything = [similarity, texts, videos, *decoder.parameters()]
        work = run(lambda: support_set(similarity, texts, videos, decoder, ids, mask), *everything)
        measure(f"objectives/support-set-cross/{name}", "torch", work)
