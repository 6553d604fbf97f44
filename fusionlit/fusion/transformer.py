"""The transformer block that attention between modalities is built of."""

from torch import Tensor, nn

from fusionlit.errors import ConfigError
from fusionlit.functional import attention


class TransformerBlock(nn.Module):
    """Pre-norm transformer block that tells where it looks.

    `y = x + Attention(norm(x), norm(context))`, `out = y + MLP(norm(y))`; self-attention where `context` is, or holds,
    `x`. The MLP is twice as wide as the tokens. The keys have no bias: a softmax over the keys would not see it. The
    weights start N(0, 1 / fan-in), the biases at zero. Dropout acts on what is added to `x` and to `y`.

    Args:
        width: Features of a token.
        heads: Attention heads; each has `width / heads` features.
        dropout: Probability that an added feature is dropped while training.

    Raises:
        ConfigError: If a size is not positive, `heads` does not divide `width`, or `dropout` is not in [0, 1).
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if width < 1 or heads < 1 or width % heads:
            raise ConfigError(
                f"Expected `heads` to divide `width`, both of them positive, but got width={width} and heads={heads}."
            )
        if not 0 <= dropout < 1:
            raise ConfigError(f"Expected `dropout` to be in [0, 1), but got {dropout}.")
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.dropout = nn.Dropout(dropout)
        for linear in (module for module in self.modules() if isinstance(module, nn.Linear)):
            nn.init.kaiming_normal_(linear.weight, nonlinearity="linear")
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor, context: Tensor, context_mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Tokens `(B, N, width)` that have looked at `context` `(B, M, width)`, and weights `(B, heads, N, M)`.

        `context_mask` `(B, M)` is true where the token of the context is there.
        """
        seen = self.norm(context)
        query, key, value = self.query(self.norm(x)), self.key(seen), self.value(seen)
        looked, weights = attention(self._split(query), self._split(key), self._split(value), context_mask)
        x = x + self.dropout(self.out(looked.transpose(1, 2).flatten(2)))
        return x + self.dropout(self.mlp(x)), weights

    def _split(self, x: Tensor) -> Tensor:
        """`(B, N, width)` to `(B, heads, N, width / heads)`."""
        return x.reshape(*x.shape[:2], self.heads, x.shape[2] // self.heads).transpose(1, 2)
