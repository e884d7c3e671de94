"""A causal transformer that learns to write Python's own documentation, one character after another."""

import argparse
from pydoc_data.topics import topics

import numpy as np

import tinynn
from tinynn.layers import Dense, Embedding, Input, LayerNormalization, PositionEmbedding, TransformerBlock

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--batch-size", type=int, default=32)
parser.add_argument("--length", type=int, default=64, help="characters the network looks back")
parser.add_argument("--dim", type=int, default=128)
parser.add_argument("--device", choices=["auto", "cpu", "cuda"])
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

text = "\n\n".join(topics[name] for name in sorted(topics))
alphabet, numbers = np.unique(list(text), return_inverse=True)  # each character's place in the alphabet
train, held_out = np.split(numbers, [len(numbers) * 9 // 10])


def windows(numbers: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Return pieces of text, and for each of their characters the one that follows."""
    pieces = np.lib.stride_tricks.sliding_window_view(numbers, args.length + 1)[::step]
    return pieces[:, :-1], pieces[:, 1:]


model = tinynn.Sequential(
    [
        Input((args.length,)),
        Embedding(len(alphabet), args.dim),
        PositionEmbedding(args.length),
        TransformerBlock(args.dim, num_heads=4, use_causal_mask=True),
        TransformerBlock(args.dim, num_heads=4, use_causal_mask=True),
        LayerNormalization(),
        Dense(len(alphabet), activation="softmax"),
    ],
    device=args.device,
    seed=args.seed,
)
model.summary()
x, y = windows(train, args.length // 4)
rate = tinynn.CosineDecay(0.0, args.epochs * len(x) // args.batch_size, warmup_target=0.003, warmup_steps=100)
model.compile(tinynn.AdamW(rate), "sparse_categorical_crossentropy")
model.fit(x, y, args.batch_size, args.epochs)

rng, written = np.random.default_rng(args.seed), list(held_out[: args.length])
for _ in range(400):
    shares = model.predict(np.array([written[-args.length :]]), verbose=0)[0, -1]
    written.append(rng.choice(len(alphabet), p=shares / shares.sum(dtype=float)))
print("".join(alphabet[written]))

x, y = windows(held_out, args.length)
print(f"\nheld out: {model.evaluate(x, y):.3f} nats a character")
