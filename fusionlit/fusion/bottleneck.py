"""Attention through a bottleneck of shared tokens."""

from typing import cast

import torch
from torch import Tensor, nn

from fusionlit.functional import attention_mass, attention_shares
from fusionlit.fusion.base import Features, FusionOperator, Presence
from fusionlit.fusion.batch_weights import BatchWeights, presence_matrix
from fusionlit.fusion.sizes import check_positive, check_tokens
from fusionlit.fusion.tokens import Tokens, mean_of_present
from fusionlit.fusion.transformer import TransformerBlock
from fusionlit.types import Shape


class BottleneckAttention(FusionOperator):
    """Attention bottleneck: sources exchange information only through a few learned tokens; the output is their mean.

    In each layer, `[z_k'; f_k] = Transformer_k([z_k; f])` for the tokens `z_k` of each source and the bottleneck tokens
    `f`, with separate parameters per source; `f` is then the mean of `f_k` over the present sources. The output
    `(B, width)` is the mean of the bottleneck tokens after a layer norm, which gives it unit scale at initialisation.
    Grids may differ.

    Every position of a map or sequence is a token and has a learned position embedding; a vector is one token. With
    equal parameters, the order of the sources does not matter. `fusion_weights` are the shares of the attention from
    the bottleneck tokens to each source's tokens, over all layers and heads, averaged over the last training batch; a
    source with more tokens attracts more attention.

    Source: Nagrani et al., "Attention bottlenecks for multimodal fusion", 2021 (arXiv 2107.00135), equations 8 and 9.

    Args:
        shapes: Shape of each source; vectors, sequences and maps may be mixed.
        width: Features of each token and of the output.
        tokens: Number of bottleneck tokens.
        heads: Attention heads; a divisor of `width`.
        layers: Number of layers; with one, the bottleneck attends to each source's tokens, which attend to nothing.
        max_tokens: Maximum number of positions of all sources together; with four heads, attention between 2,048 takes
            up to 64 MiB per sample.

    Raises:
        ConfigError: If a number is not positive, `heads` does not divide `width`, or there are too many tokens.
    """

    def __init__(
        self,
        shapes: dict[str, Shape],
        width: int = 64,
        tokens: int = 4,
        heads: int = 4,
        layers: int = 1,
        max_tokens: int = 2048,
    ) -> None:
        super().__init__(shapes)
        check_positive("BottleneckAttention", tokens=tokens, layers=layers)
        check_tokens("BottleneckAttention", self.shapes, max_tokens)
        self.layers = nn.ModuleList(
            nn.ModuleList(TransformerBlock(width, heads) for _ in self.shapes) for _ in range(layers)
        )
        self.tokens = nn.ModuleList(Tokens(shape, width) for shape in self.shapes.values())
        self.bottleneck = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.norm = nn.LayerNorm(width)
        self.batch_weights = BatchWeights(self.shapes)

    @property
    def out_shape(self) -> Shape:
        """`(width,)`."""
        return (self.bottleneck.shape[1],)

    def forward(self, features: Features, presence: Presence | None = None) -> Tensor:
        """Fuse the sources through the bottleneck."""
        sources = self.fill_missing(features, presence, value=0.0)
        there = presence_matrix(self.shapes, presence, sources[0])
        tokens = [embed(x) for embed, x in zip(self.tokens, sources, strict=True)]
        bottleneck = self.bottleneck.expand(len(there), -1, -1)
        masses = []
        for depth, blocks in enumerate(cast(list[nn.ModuleList], list(self.layers)), start=1):
            last = depth == len(self.layers)
            seen = [look(block, bottleneck, x, last) for block, x in zip(blocks, tokens, strict=True)]
            bottleneck = mean_of_present([shared for shared, _, _ in seen], there)
            tokens = [own for _, own, _ in seen]
            masses.append(torch.stack([mass for _, _, mass in seen], dim=1))
        self.batch_weights.update(attention_shares(torch.stack(masses).sum(0), there), there)
        out: Tensor = self.norm(bottleneck.mean(1))
        return out

    def fusion_weights(self) -> dict[str, Tensor]:
        """Share of each source in the bottleneck's attention over the last training batch, a scalar."""
        return self.batch_weights.mean_weights()


def look(block: nn.Module, bottleneck: Tensor, tokens: Tensor, last: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Bottleneck tokens, the source's own tokens, and the attention mass `(B,)` from the former to the latter.

    In the last layer only the bottleneck tokens are computed, since the source's tokens are no longer needed.
    """
    count = bottleneck.shape[1]
    context = torch.cat([bottleneck, tokens], dim=1)
    out, weights = block(bottleneck if last else context, context)
    mass = attention_mass(weights[:, :, :count], [count, tokens.shape[1]])[:, 1]
    return out[:, :count], out[:, count:], mass
