"""Laws of contract suites, and those shared by operators, encoders and fusion models."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.gradcheck import GradcheckError

from fusionlit.testing.cases import BATCH, Case, close, weigh
from fusionlit.testing.registration import unregistered

SubjectT = TypeVar("SubjectT")
Law = Callable[[SubjectT], str | None]
"""A requirement, stated in the docstring; returns None if it is met, else what happened and what to do."""


class BrokenLawError(AssertionError):
    """A part breaks a law of its contract.

    Args:
        law: The law.
        message: Which law, what happened, and what to do.
    """

    def __init__(self, law: Callable[..., Any], message: str) -> None:
        super().__init__(message)
        self.law = law


def uphold(subject: SubjectT, laws: Iterable[Law[SubjectT]]) -> None:
    """Check the laws in order on one case or several.

    Raises:
        BrokenLawError: At the first violation.
    """
    for law in laws:
        cause = None
        try:
            with torch.random.fork_rng(devices=[]), torch.enable_grad():
                broken = law(subject)
        except Exception as error:
            broken, cause = f"it raised {type(error).__name__}: {error}", error
        if broken:
            promise = " ".join((inspect.getdoc(law) or "").split())
            raise BrokenLawError(law, f"{subject} breaks a law. {promise} But {broken}") from cause


def out_shape_is_the_outputs(case: Case) -> str | None:
    """`out_shape` is known once the part is built, and is the output shape without the batch dimension."""
    part = case.build()
    promised, out = part.out_shape, case.run(part, case.inputs())
    if promised == tuple(out.shape[1:]) and len(out) == BATCH:
        return None
    return f"`out_shape` is {promised}, but a batch of {BATCH} gave {tuple(out.shape)}."


def a_batch_of_one_stays_one(case: Case) -> str | None:
    """A batch of one sample stays a batch of one: no `squeeze()` without a dimension removes it."""
    module = case.build()
    whole, one = case.run(module, case.inputs()), case.run(module, case.inputs(1))
    if one.shape == (1, *whole.shape[1:]):
        return None
    return f"one sample gave {tuple(one.shape)}, not {(1, *whole.shape[1:])}."


def the_result_is_finite(case: Case) -> str | None:
    """Standard normal inputs give a finite result."""
    result = case.run(case.build(), case.inputs())
    if result.isfinite().all():
        return None
    wrong = int((~result.isfinite()).sum())
    return f"{wrong} of {result.numel()} values are not finite. Look for a logarithm, root or quotient."


def everything_is_registered(case: Case) -> str | None:
    """Parameters, buffers and modules are registered, so that they are trained, saved, and moved to the device."""
    lost = list(unregistered(case.build()))
    return f"{'; '.join(lost)}." if lost else None


def evaluation_changes_nothing(case: Case) -> str | None:
    """In evaluation mode, a call changes neither inputs nor module, and a second call gives the same result."""
    module, inputs = case.build(), case.inputs()
    state = {name: x.detach().clone() for name, x in (*module.named_parameters(), *module.named_buffers())}
    first = case.run(module, inputs)
    changed = [name for name, x in case.inputs().items() if not torch.equal(x, inputs[name])]
    if changed:
        return f"it changed its inputs {changed}. Look for an in-place operation, such as `+=` or `relu_`."
    now = (*module.named_parameters(), *module.named_buffers())
    changed = [name for name, x in now if not torch.allclose(x, state[name], rtol=0, atol=0, equal_nan=True)]
    if changed:
        return f"it changed its own {changed}. Update them only `if self.training`."
    if torch.equal(case.run(module, inputs), first):
        return None
    return "a second call gave a different result. Draw random numbers only `if self.training`."


def samples_do_not_mix(case: Case) -> str | None:
    """In evaluation mode, the result of a sample does not depend on the other samples in the batch."""
    module = case.build()
    whole = case.run(module, case.inputs())
    if close(case.run(module, case.inputs(1)), whole[:1]):
        return None
    return f"the first of {BATCH} samples gives a different result alone. Look for a mean, norm or reshape over dim 0."


def order_of_the_inputs_does_not_matter(case: Case) -> str | None:
    """Inputs and presence masks are identified by name: their order does not matter."""
    module = case.build()
    for presence in case.presences():
        inputs = case.inputs(BATCH if presence is None else len(next(iter(presence.values()))))
        mirrored = presence and dict(reversed(presence.items()))
        reverse = case.run(module, dict(reversed(inputs.items())), mirrored)
        if not close(reverse, case.run(module, inputs, presence)):
            what = "inputs" if presence is None else "inputs or of their presence"
            return f"the result changes when the dict of its {what} is reversed. Look them up by name."
    return None


def state_dict_is_whole(case: Case) -> str | None:
    """The state dict holds everything random or learned: another instance that loads it gives the same result."""
    module, other = case.build(), case.build(seed=1)
    other.load_state_dict(module.state_dict())
    if close(case.run(other, case.inputs()), case.run(module, case.inputs())):
        return None
    return "the results differ. Store random values drawn in __init__ in a parameter or a buffer."


def gradients_are_right(case: Case) -> str | None:
    """The gradient agrees with finite differences in float64."""
    module, inputs = case.build(), case.inputs(2)
    names = [name for name, p in module.named_parameters() if p.requires_grad]
    parameters = [p for p in module.parameters() if p.requires_grad]
    wrapped = Wrapped(module, case, list(inputs))

    def run(*tensors: Tensor) -> Tensor:
        values = dict(zip((f"module.{name}" for name in names), tensors[len(inputs) :], strict=True))
        out: Tensor = torch.func.functional_call(wrapped, values, tensors[: len(inputs)])
        return out

    tensors = [x.requires_grad_() for x in inputs.values()]
    try:
        torch.autograd.gradcheck(run, (*tensors, *parameters), fast_mode=True)
    except GradcheckError as error:
        return (
            "it does not: look for `.detach()`, `.data`, `no_grad` or a cast to float32 in the forward. torch reports:"
            f" {error}"
        )
    return None


def compiles_to_one_graph(case: Case) -> str | None:
    """The forward compiles to a single graph: it does not read values back from the device or branch on them.

    Skipped where torch.compile is not supported.
    """
    if not torch._dynamo.is_dynamo_supported():  # type: ignore[attr-defined]  # its home is another module
        return None
    module = case.build()
    torch._dynamo.reset()  # drops previously compiled graphs
    allows_rnn = hasattr(torch._dynamo.config, "allow_rnn")  # off by default in torch: recurrent networks
    with torch._dynamo.config.patch(allow_rnn=True) if allows_rnn else nullcontext():
        compiled: Any = torch.compile(module, backend="eager", fullgraph=True)
        for presence in case.presences():
            inputs = case.inputs(BATCH if presence is None else len(next(iter(presence.values()))))
            if not close(case.run(compiled, inputs, presence), case.run(module, inputs, presence)):
                return "the compiled forward gives a different result."
    return None


def gradients(
    case: Case,
    objective: Callable[[Any, dict[str, Tensor]], Tensor] | None = None,
    entrywise: Callable[[Any], Iterable[nn.Parameter]] = lambda _: (),
) -> tuple[list[str], list[str]]:
    """Inputs and trainable parameters without and with a gradient; `entrywise` parameters need one in every entry.

    The gradient is that of `objective(module, inputs)`; default: a weighted sum of the outputs.
    """
    module, inputs = case.build(), case.inputs()
    inputs = {name: x.requires_grad_() if x.is_floating_point() else x for name, x in inputs.items()}
    torch.autograd.backward(objective(module, inputs) if objective else weigh(case.run(module, inputs)))
    everywhere = {id(p) for p in entrywise(module)}
    tensors = {f"source {name!r}": x for name, x in inputs.items() if x.requires_grad}
    tensors |= {f"parameter `{name}`": p for name, p in module.named_parameters() if p.requires_grad}
    found: tuple[list[str], list[str]] = ([], [])
    for name, x in tensors.items():
        moved = torch.zeros(1) if x.grad is None else x.grad
        found[bool(moved.all() if id(x) in everywhere else moved.any())].append(name)
    return found


class Wrapped(nn.Module):
    """A part with positional tensor inputs, as `functional_call` requires."""

    def __init__(self, module: nn.Module, case: Case, names: Sequence[str]) -> None:
        super().__init__()
        self.module, self.case, self.names = module, case, names

    def forward(self, *inputs: Tensor) -> Tensor:
        """Run the part."""
        return self.case.run(self.module, dict(zip(self.names, inputs, strict=True)))
