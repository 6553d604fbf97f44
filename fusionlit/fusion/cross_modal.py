"""Cross-attention from each modality to the others."""

import torch
from torch import Tensor, nn

from fusionlit.functional import attention_mass, attention_shares
from fusionlit.fusion.base import Features, FusionOperator, Presence
from fusionlit.fusion.batch_weights import BatchWeights, presence_matrix
from fusionlit.fusion.sizes import check_tokens
from fusionlit.fusion.tokens import Tokens, mean_of_present
from fusionlit.fusion.transformer import TransformerBlock
from fusionlit.types import Shape


class CrossModalAttention(FusionOperator):
    """Cross-attention: the tokens of each source attend to those of all others; the output is the mean of the results.

    `z_k' = Transformer_k(z_k, [z_j for all present j != k])`: queries from source k, keys and values from the others
    jointly, a residual connection, then an MLP, with separate parameters for each k. `z_k'` is averaged over its
    tokens, then over the present sources; a layer norm gives the output `(B, width)` unit scale at initialisation.
    Grids may differ. A source on its own has nothing to attend to: its attention output is a constant, and the residual
    connection and the MLP still apply.

    Every position of a map or sequence is a token and has a learned position embedding; a vector is one token. With
    equal parameters, the order of the sources does not matter. `fusion_weights` are the shares of the attention that
    each source receives from the others, averaged over the last training batch. If only two sources are present, each
    attends only to the other, so both weights are 1 / 2; a source on its own has weight 1. (With two vectors, each
    source attends to a single key: attention is then a linear map, and queries and keys are not trained.)

    After Tsai et al., "Multimodal transformer for unaligned multimodal language sequences", 2019 (arXiv 1906.00295),
    which has one transformer per pair of modalities instead.

    Args:
        shapes: Shape of each source; vectors, sequences and maps may be mixed.
        width: Features of each token and of the output.
        heads: Attention heads; a divisor of `width`.
        max_tokens: Maximum number of positions of all sources together; with four heads, attention between 2,048 takes
            up to 64 MiB per sample.

    Raises:
        ConfigError: If a number is not positive, `heads` does not divide `width`, or there are too many tokens.
    """

    def __init__(self, shapes: dict[str, Shape], width: int = 64, heads: int = 4, max_tokens: int = 2048) -> None:
        super().__init__(shapes)
        check_tokens("CrossModalAttention", self.shapes, max_tokens)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads) for _ in self.shapes)
        self.tokens = nn.ModuleList(Tokens(shape, width) for shape in self.shapes.values())
        self.norm = nn.LayerNorm(width)
        self._out_shape = (width,)
        self.batch_weights = BatchWeights(self.shapes)

    @property
    def out_shape(self) -> Shape:
        """`(width,)`."""
        return self._out_shape

    def forward(self, features: Features, presence: Presence | None = None) -> Tensor:
        """Let each source attend to the others."""
        sources = self.fill_missing(features, presence, value=0.0)
        there = presence_matrix(self.shapes, presence, sources[0])
        tokens = [embed(x) for embed, x in zip(self.tokens, sources, strict=True)]
        pooled, received = [], torch.zeros_like(there, dtype=torch.float32)
        for k, block in enumerate(self.blocks):
            attended, mass = attend_to_others(block, k, tokens, there)
            pooled.append(attended.mean(1))
            received = received + mass * there[:, k, None]
        self.batch_weights.update(attention_shares(received, there), there)
        out: Tensor = self.norm(mean_of_present(pooled, there))
        return out

    def fusion_weights(self) -> dict[str, Tensor]:
        """Share of each source in the attention between sources over the last training batch, a scalar."""
        return self.batch_weights.mean_weights()


def attend_to_others(block: nn.Module, k: int, tokens: list[Tensor], there: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens of source k after attending to the other present sources, and the mass `(B, K)` received by each."""
    context = [x if j != k else x[:, :0] for j, x in enumerate(tokens)]
    sizes = [x.shape[1] for x in context]
    mask = torch.cat([m[:, None].expand(-1, size) for m, size in zip(there.unbind(1), sizes, strict=True)], dim=1)
    out, weights = block(tokens[k], torch.cat(context, dim=1), mask)
    return out, attention_mass(weights, sizes)
