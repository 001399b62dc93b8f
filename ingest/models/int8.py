"""Linear layers of a transformer in 8-bit integers, for processors without bfloat16.

PyTorch's own ``quantize_dynamic`` gives one scale to a whole batch of activations; on multilingual-e5-small that costs a cosine of
0.026 against float32, nearly all of it in the layer after GELU, where a few tokens are many times larger than the rest. Here those
layers scale every token by its own largest value first. Weights have one scale a row and 7 bits: AVX2 adds pairs of 8 x 8 bit
products in 16 bits, which 8-bit activations and 7-bit weights cannot overflow (255 * 63 * 2 < 2^15).
Importing this module imports torch.
"""

import warnings

import torch

_LIMIT = 63
_SMALLEST_SCALE = 0.2  # GELU is never below -0.17, so a scaled token lies in [-1, 1]


def available() -> bool:
    """Whether this build of torch has the x86 integer kernels."""
    return "x86" in torch.backends.quantized.supported_engines


class Int8Linear(torch.nn.Module):
    """``torch.nn.Linear`` with 7-bit weights and 8-bit activations, for inference only.

    ``scale_tokens``: give every row of the input its own scale instead of one for the whole input.
    """

    def __init__(self, linear: torch.nn.Linear, *, scale_tokens: bool) -> None:
        super().__init__()
        weight = linear.weight.detach().float()
        bias = linear.bias.detach().float() if linear.bias is not None else None
        scales = (weight.abs().amax(dim=1) / _LIMIT).clamp_min(1e-12)
        zeros = torch.zeros(len(scales), dtype=torch.int64)
        with warnings.catch_warnings():
            # torch calls quantised tensors deprecated in favour of torchao, whose kernels need a compiler on the user's machine.
            warnings.simplefilter("ignore")
            quantised = torch.quantize_per_channel(weight, scales.double(), zeros, 0, torch.qint8)
            self._packed = torch.ops.quantized.linear_prepack(quantised, None if scale_tokens else bias)
        self._bias = bias if scale_tokens else None
        self._scale_tokens = scale_tokens

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The layer's output (..., out) for an input (..., in), float32."""
        if not self._scale_tokens:
            return self._multiply(x)
        scale = x.amax(dim=-1, keepdim=True).clamp_min_(_SMALLEST_SCALE)
        y = self._multiply(x / scale).mul_(scale)
        return y if self._bias is None else y.add_(self._bias)

    def _multiply(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = torch.ops.quantized.linear_dynamic(x, self._packed, False)
        return y


def quantise(model: torch.nn.Module) -> int:
    """Replace every linear layer of the model in place; returns how many.

    Layers that narrow (the second of a feed-forward block) read an activation function's output and scale their tokens.
    """
    torch.backends.quantized.engine = "x86"
    replaced = 0
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is torch.nn.Linear:
                setattr(module, name, Int8Linear(child, scale_tokens=child.in_features > child.out_features))
                replaced += 1
    return replaced
