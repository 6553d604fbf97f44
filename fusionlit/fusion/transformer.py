"""Transformer block of the attention operators."""

from torch import Tensor, nn

from fusionlit.errors import ConfigError
from fusionlit.functional import attention


class TransformerBlock(nn.Module):
    """Pre-norm transformer block that also returns its attention weights.

    `y = x + Attention(norm(x), norm(context))`, `out = y + MLP(norm(y))`; self-attention if `context` is, or contains,
    `x`. The MLP is twice as wide as the tokens. The keys have no bias, since it would cancel in the softmax. Weights
    are initialised N(0, 1 / fan-in), biases zero. Dropout is applied to both residual branches.

    Args:
        width: Features of each token.
        heads: Attention heads; each has `width / heads` features.
        dropout: Dropout probability of the residual branches.

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
        """Attend from `x` `(B, N, width)` to `context` `(B, M, width)`.

        `context_mask` `(B, M)` is true where a context token is present. Returns the tokens `(B, N, width)` and the
        attention weights `(B, heads, N, M)`.
        """
        seen = self.norm(context)
        query, key, value = self.query(self.norm(x)), self.key(seen), self.value(seen)
        attended, weights = attention(self._split(query), self._split(key), self._split(value), context_mask)
        x = x + self.dropout(self.out(attended.transpose(1, 2).flatten(2)))
        return x + self.dropout(self.mlp(x)), weights

    def _split(self, x: Tensor) -> Tensor:
        """`(B, N, width)` to `(B, heads, N, width / heads)`."""
        return x.reshape(*x.shape[:2], self.heads, x.shape[2] // self.heads).transpose(1, 2)
