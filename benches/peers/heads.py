"""The heads, galleries of two sizes and the EM layer in plain PyTorch, f32, two threads; nothing is masked on either
side."""

import torch
from torch import nn
from torch.nn.functional import normalize, softmax

from common import measure, median_of_five

torch.set_num_threads(2)
torch.manual_seed(1)
WIDTH, FRAMES, TOKENS, BATCH = 512, 12, 32, 128
EXPERTS, STEPS = (2048, 1024, 2208, 128), 3


def leaf(*shape):
    return torch.randn(*shape, requires_grad=True)


def cosine(texts, videos):
    return normalize(texts, dim=-1) @ normalize(videos, dim=-1).T


def pooled(frames):
    return normalize(frames, dim=-1).mean(1)


class Block(nn.Module):
    """CLIP's residual block."""

    def __init__(self, heads=WIDTH // 64):
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, heads, batch_first=True)
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


class Adapter(nn.Module):
    def __init__(self):
        super().__init__()
        self.project, self.norm = nn.Linear(WIDTH, WIDTH, bias=False), nn.LayerNorm(WIDTH)
        self.expand, self.contract = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, frames):
        x = self.project(frames)
        y = self.expand(self.norm(x))
        return x + self.contract(y * torch.sigmoid(1.702 * y))


class Camoe(nn.Module):
    """Three streams and the whole caption, each with its own aggregator, under one gate."""

    def __init__(self):
        super().__init__()
        self.adapter, self.gate = Adapter(), nn.Linear(WIDTH, 4)
        self.squeeze, self.excite = nn.Linear(WIDTH, WIDTH // 4, bias=False), nn.Linear(WIDTH // 4, 1, bias=False)
        self.places = nn.ParameterList(nn.Parameter(torch.randn(FRAMES, WIDTH)) for _ in range(2))
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3))
        self.blocks = nn.Sequential(Block(4), Block(4))

    def attended(self, frames):
        split = lambda x: x.unflatten(2, (4, WIDTH // 4)).transpose(1, 2)
        x = frames + self.places[0]
        query, key, value = split(self.query(x)), split(self.key(x)), split(self.value(x))
        seen = nn.functional.scaled_dot_product_attention(query, key, value)
        return frames + seen.transpose(1, 2).flatten(2)

    def forward(self, texts, frames, tokens):
        frames = self.adapter(frames)
        gate = softmax(self.gate(frames.mean(1)), dim=-1)
        excited = torch.sigmoid(self.excite(torch.relu(self.squeeze(frames))))
        videos = [
            (excited * frames).sum(1) / excited.sum(1),
            self.attended(frames).mean(1),
            frames.mean(1),
            pooled(self.blocks(frames + self.places[1]) + frames),
        ]
        captions = [*self.streams, texts]
        return sum(gate[:, e] * cosine(captions[e], videos[e]) for e in range(4))


class Experts(nn.Module):
    """A host of feature experts; they do not see one another, or by CE's gating, or by MMT's transformer."""

    def __init__(self, mixing):
        super().__init__()
        linear = lambda inputs, bias=True: nn.Linear(inputs, WIDTH, bias=bias)
        self.mixing, self.project = mixing, nn.ModuleList(linear(inputs) for inputs in EXPERTS)
        self.text = nn.ModuleList(nn.ModuleList((linear(WIDTH), linear(WIDTH))) for _ in EXPERTS)
        self.weights = nn.Linear(WIDTH, len(EXPERTS))
        if mixing == "gating":
            self.own, self.other = linear(WIDTH), linear(WIDTH, bias=False)
            self.reason, self.gate = linear(WIDTH), linear(WIDTH)
        if mixing == "transformer":
            self.kinds = nn.Parameter(torch.randn(1 + len(EXPERTS), WIDTH))
            self.places, self.norm = nn.Parameter(torch.randn(32, WIDTH)), nn.LayerNorm(WIDTH)
            layer = nn.TransformerEncoderLayer(WIDTH, 4, 3072, 0.0, "gelu", batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)

    def of_experts(self, features):
        """[videos, experts, WIDTH]"""
        if self.mixing == "transformer":
            first = self.places[0]
            tokens = [(first + self.kinds[0]).expand(len(features[0]), 1, WIDTH)]
            for number, (project, steps) in enumerate(zip(self.project, features)):
                kind = self.kinds[number + 1]
                tokens.append((normalize(project(steps.max(1).values), dim=-1) + first + kind)[:, None])
                tokens.append(normalize(project(steps), dim=-1) + self.places[:STEPS] + kind)
            output = self.encoder(self.norm(torch.cat(tokens, 1)))
            return normalize(output[:, 1 :: 1 + STEPS], dim=-1)
        vectors = [normalize(project(steps.mean(1)), dim=-1) for project, steps in zip(self.project, features)]
        vectors = torch.stack(vectors, 1)
        if self.mixing == "gating":
            pairs = torch.relu(self.own(vectors)[:, :, None] + self.other(vectors)[:, None])
            heard = self.reason(pairs.mean(2))
            return normalize(vectors * torch.sigmoid(self.gate(vectors) + heard), dim=-1)
        return vectors

    def forward(self, texts, frames, tokens):
        captions = []
        for project, gate in self.text:
            y = project(texts)
            captions.append(normalize(y * torch.sigmoid(gate(y)), dim=-1))
        weights, videos = softmax(self.weights(texts), dim=-1), self.of_experts(self.features)
        return sum(weights[:, e, None] * (captions[e] @ videos[:, e].T) for e in range(len(EXPERTS)))


def with_em(x):
    """Three times the reconstruction on top, a constant to the gradient, as EMCL's code has it."""
    with torch.no_grad():
        rebuilt = direct(x)
    return x + 3 * rebuilt


class MeanPoolingEmcl(nn.Module):
    def forward(self, texts, frames, tokens):
        videos = normalize(pooled(frames), dim=-1)
        x = with_em(torch.cat([videos, normalize(texts, dim=-1)]))
        return cosine(x[len(frames) :], x[: len(frames)])


class ConditionedEmcl(nn.Module):
    def forward(self, texts, frames, tokens):
        n, m = len(texts), len(frames)
        weights = softmax(torch.einsum("ad,bvd->abv", texts, frames) / 3, dim=-1)
        videos = torch.einsum("abv,bvd->abd", weights, frames).reshape(n * m, WIDTH)
        x = with_em(torch.cat([videos, texts]))
        videos, texts = normalize(x[: n * m], dim=-1).reshape(n, m, WIDTH), normalize(x[n * m :], dim=-1)
        return torch.einsum("ad,abd->ab", texts, videos)


def step(name, head, pairs=BATCH):
    texts, frames, tokens = leaf(pairs, WIDTH), leaf(pairs, FRAMES, WIDTH), leaf(pairs, TOKENS, WIDTH)
    # Heads with inputs of their own hold them.
    streams = [leaf(pairs, WIDTH) for _ in range(3)] if isinstance(head, Camoe) else []
    features = [leaf(pairs, STEPS, inputs) for inputs in EXPERTS] if isinstance(head, Experts) else []
    head.streams, head.features = streams, features
    weight = torch.randn(pairs, pairs)

    def work():
        head.zero_grad(set_to_none=True)
        for inputs in (texts, frames, tokens, *streams, *features):
            inputs.grad = None
        (head(texts, frames, tokens) * weight).sum().backward()

    measure(f"heads/{name}/{pairs}x{pairs}", "pytorch", work)


start = torch.randn(1, 32)


def direct(x):
    """As EMCL's code has it: bases of all items in every step."""
    bases = start.repeat(len(x), 1)
    for _ in range(9):
        channels = softmax(x.T @ bases, dim=1)
        channels = channels / (1e-6 + channels.sum(dim=0, keepdim=True))
        bases = x @ channels
        bases = bases / (1e-6 + bases.norm(dim=0, keepdim=True))
    return bases @ channels.T


step("mean-pooling", MeanPooling())
step("seq-lstm", SeqLstm())
step("seq-transf", SeqTransf())
step("tight-transf", TightTransf(), pairs=16)
step("conditioned", Conditioned())
step("xpool", XPool())
step("token-wise", TokenWise(weighted=False))
step("token-wise-weighted", TokenWise(weighted=True))
step("camoe", Camoe())
step("experts", Experts("none"))
step("experts-gating", Experts("gating"))
step("experts-transformer", Experts("transformer"))
step("mean-pooling-emcl", MeanPoolingEmcl())
step("conditioned-emcl", ConditionedEmcl())


@torch.no_grad()
def gallery(name, head, items, tile=256):
    """Similarities of all pairs, tile by tile."""
    made = []

    def work():
        if not made:
            made.extend(torch.randn(*shape) for shape in ((items, WIDTH), (items, FRAMES, WIDTH), (items, TOKENS, WIDTH)))
        texts, frames, tokens = (x.split(tile) for x in made)
        rows = [torch.cat([head(a, b, t) for b in frames], 1) for a, t in zip(texts, tokens)]
        return torch.cat(rows)

    median_of_five(f"heads/score-all/{name}/{items}", "pytorch", work)


for size in (250, 1000):
    gallery("xpool", XPool(), size)
    gallery("token-wise", TokenWise(weighted=False), size)

items = torch.randn(BATCH * BATCH + BATCH, WIDTH)


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
