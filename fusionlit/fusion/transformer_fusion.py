"""One token per modality, and a transformer over them."""

import torch
from torch import Tensor, nn

from fusionlit.functional import attention_mass, attention_shares
from fusionlit.fusion.base import Features, FusionOperator, Presence
from fusionlit.fusion.batch_weights import BatchWeights, presence_matrix
from fusionlit.fusion.sizes import check_positive
from fusionlit.fusion.tokens import Tokens
from fusionlit.fusion.transformer import TransformerBlock
from fusionlit.types import Shape


class TransformerFusion(FusionOperator):
    """Transformer over one token per source and a learned CLS token, which is the output, `(B, width)`.

    `t_k = W_k mean_p h_k[p] + m_k`, then `layers` pre-norm transformer blocks over `[CLS; t_1; ...; t_K]`, then a layer
    norm of the CLS token. The mean is over the positions of a map or a sequence; a vector is used as is. `m_k` is a
    learned embedding of modality k. Channels and grids may differ; the cost of attention does not depend on the grids.

    A missing source is masked as a key in every layer, so nothing attends to it. With equal parameters, the order of
    the sources does not matter. `fusion_weights` are the shares of the CLS token's attention that go to each source,
    over all layers and heads, averaged over the last training batch.

    After SimBaMM: Rheude et al., "Fusion or confusion? Multimodal complexity is not all you need", 2025 (arXiv
    2512.22991), a late-fusion transformer that few methods reliably outperform.

    Args:
        shapes: Shape of each source; vectors, sequences and maps may be mixed.
        width: Features of each token and of the output.
        heads: Attention heads; a divisor of `width`.
        layers: Number of transformer blocks; with one, the source tokens do not attend to each other.
        dropout: Dropout probability of the residual branches.

    Raises:
        ConfigError: If a size is not positive, `heads` does not divide `width`, or `dropout` is not in [0, 1).
    """

    def __init__(
        self, shapes: dict[str, Shape], width: int = 64, heads: int = 4, layers: int = 2, dropout: float = 0.0
    ) -> None:
        super().__init__(shapes)
        check_positive("TransformerFusion", layers=layers)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, dropout) for _ in range(layers))
        # A vector has no position embedding: the bias of its projection serves as the modality embedding.
        self.tokens = nn.ModuleDict({source: Tokens(shape[:1], width) for source, shape in self.shapes.items()})
        self.cls = nn.Parameter(0.02 * torch.randn(1, width))
        self.norm = nn.LayerNorm(width)
        self.batch_weights = BatchWeights(self.shapes)

    @property
    def out_shape(self) -> Shape:
        """`(width,)`."""
        return (self.cls.shape[1],)

    def forward(self, features: Features, presence: Presence | None = None) -> Tensor:
        """Fuse the sources into the CLS token."""
        sources = self.fill_missing(features, presence, value=0.0)
        there = presence_matrix(self.shapes, presence, sources[0])
        own = [self.tokens[source](pool(x)) for source, x in zip(self.shapes, sources, strict=True)]
        x = torch.cat([self.cls.expand(len(there), -1, -1), *own], dim=1)
        mask = torch.cat([torch.ones_like(there[:, :1]), there], dim=1)
        masses = []
        for depth, block in enumerate(self.blocks, start=1):
            # The last layer computes only the CLS token, since the source tokens are no longer needed.
            x, weights = block(x[:, :1] if depth == len(self.blocks) else x, x, mask)
            masses.append(attention_mass(weights[:, :, :1], [1] * mask.shape[1])[:, 1:])
        self.batch_weights.update(attention_shares(torch.stack(masses).sum(0), there), there)
        out: Tensor = self.norm(x[:, 0])
        return out

    def fusion_weights(self) -> dict[str, Tensor]:
        """Share of each source in the CLS token's attention over the last training batch, a scalar."""
        return self.batch_weights.mean_weights()


def pool(x: Tensor) -> Tensor:
    """Mean over the positions, `(B, C, *grid)` to `(B, C)`; a vector is returned unchanged."""
    return x if x.ndim == 2 else x.flatten(2).mean(2)
