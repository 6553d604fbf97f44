"""What a law is, and those that hold for operators, encoders and strategies alike."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.gradcheck import GradcheckError
from torchmetrics import Metric

from fusionlit.types import Shape

SubjectT = TypeVar("SubjectT")
Law = Callable[[SubjectT], str | None]
"""A promise, in its docstring; it answers with what came instead and what to do, or with None where it is kept."""

BATCH = 6


class BrokenLawError(AssertionError):
    """A part breaks a law of its contract.

    Args:
        law: The law.
        message: Which it is, what came, and what to do.
    """

    def __init__(self, law: Callable[..., Any], message: str) -> None:
        super().__init__(message)
        self.law = law


class Case(ABC):
    """One way to build a part, and inputs for it."""

    @abstractmethod
    def make(self) -> nn.Module:
        """A new part, as its factory gives it."""

    @abstractmethod
    def inputs(self, batch: int = BATCH) -> dict[str, Tensor]:
        """Random inputs in float64, the same at every call; a smaller batch is the beginning of a larger one."""

    @abstractmethod
    def run(self, module: nn.Module, inputs: dict[str, Tensor], presence: dict[str, Tensor] | None = None) -> Tensor:
        """All that the part puts out, as one tensor `(B, ...)`."""

    def build(self, seed: int = 0) -> Any:  # noqa: ANN401 (the part's own class)
        """A part in float64 and in evaluation mode, whose parameters are those of no special start, such as zeros."""
        torch.manual_seed(seed)
        module = self.make().double().eval()
        with torch.no_grad():
            for parameter in module.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter), alpha=0.3)
        return module


def uphold(subject: SubjectT, laws: Iterable[Law[SubjectT]]) -> None:
    """Try the laws in order on a case, or on several.

    Raises:
        BrokenLawError: At the first that is broken.
    """
    for law in laws:
        cause = None
        try:
            with torch.random.fork_rng(devices=[]):
                broken = law(subject)
        except Exception as error:
            broken, cause = f"it raised {type(error).__name__}: {error}", error
        if broken:
            promise = " ".join((inspect.getdoc(law) or "").split())
            raise BrokenLawError(law, f"{subject} breaks a law. {promise} But {broken}") from cause


def a_batch_of_one_stays_one(case: Case) -> str | None:
    """A batch of one sample stays a batch of one: no `squeeze()` without a dimension takes it away."""
    module = case.build()
    whole, one = case.run(module, case.inputs()), case.run(module, case.inputs(1))
    if one.shape == (1, *whole.shape[1:]):
        return None
    return f"of one sample came {tuple(one.shape)}, not {(1, *whole.shape[1:])}."


def samples_do_not_mix(case: Case) -> str | None:
    """In evaluation mode the result of a sample does not depend on the other samples of its batch."""
    module = case.build()
    whole = case.run(module, case.inputs())
    if close(case.run(module, case.inputs(1)), whole[:1]):
        return None
    return f"the first of {BATCH} samples has another result alone. Look for a mean, a norm or a reshape over dim 0."


def everything_is_registered(case: Case) -> str | None:
    """Parameters, buffers and modules are registered, so that they are trained, saved, and moved to the device."""
    lost = list(unregistered(case.build()))
    return f"{'; '.join(lost)}." if lost else None


def order_of_the_inputs_does_not_matter(case: Case) -> str | None:
    """Inputs are known by their names: the order in which they come does not matter."""
    module, inputs = case.build(), case.inputs()
    if close(case.run(module, dict(reversed(inputs.items()))), case.run(module, inputs)):
        return None
    return "it gives another result when the dict of its inputs is reversed. Look them up by name, in its own order."


def evaluation_changes_nothing(case: Case) -> str | None:
    """In evaluation mode a call changes neither the inputs nor the module, and gives the same result again."""
    module, inputs = case.build(), case.inputs()
    state = {name: x.clone() for name, x in module.state_dict().items()}
    first = case.run(module, inputs)
    changed = [name for name, x in case.inputs().items() if not torch.equal(x, inputs[name])]
    if changed:
        return f"it changed its inputs {changed}. Look for an operation in place, such as `+=` or `relu_`."
    changed = [name for name, x in module.state_dict().items() if not torch.equal(x, state[name])]
    if changed:
        return f"it changed its own {changed}. Update them only `if self.training`."
    if torch.equal(case.run(module, inputs), first):
        return None
    return "a second call gave another result. Draw random numbers only `if self.training`."


def state_dict_is_whole(case: Case) -> str | None:
    """The state dict holds all that was drawn or learned: another instance that loads it gives the same result."""
    module, other = case.build(), case.build(seed=1)
    other.load_state_dict(module.state_dict())
    if close(case.run(other, case.inputs()), case.run(module, case.inputs())):
        return None
    return "it gives another result. Keep what is drawn in __init__ in a parameter or a buffer."


def gradients_are_right(case: Case) -> str | None:
    """The gradient is that of the function, by finite differences in float64."""
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
        return f"it is another: look for `.detach()`, `.data` or `no_grad` in the forward. torch says: {error}"
    return None


def compiles_to_one_graph(case: Case) -> str | None:
    """The forward compiles to one graph: it reads no value back from the device and does not branch on one."""
    module, inputs = case.build(), case.inputs()
    torch._dynamo.reset()  # it keeps the graphs of what was compiled before
    compiled: Any = torch.compile(module, backend="eager", fullgraph=True)
    if close(case.run(compiled, inputs), case.run(module, inputs)):
        return None
    return "the compiled forward gives another result."


def gradients(
    case: Case,
    entrywise: Callable[[Any], Iterable[nn.Parameter]] = lambda _: (),
    presence: dict[str, Tensor] | None = None,
) -> tuple[list[str], list[str]]:
    """Inputs and trainable parameters without a gradient, and those with one; `entrywise` ones need it everywhere."""
    module, inputs = case.build(), {name: x.requires_grad_() for name, x in case.inputs().items()}
    torch.autograd.backward(weigh(case.run(module, inputs, presence)))
    everywhere = {id(p) for p in entrywise(module)}
    tensors = {f"source {name!r}": x for name, x in inputs.items()}
    tensors |= {f"parameter `{name}`": p for name, p in module.named_parameters() if p.requires_grad}
    found: tuple[list[str], list[str]] = ([], [])
    for name, x in tensors.items():
        moved = torch.zeros(1) if x.grad is None else x.grad
        found[bool(moved.all() if id(x) in everywhere else moved.any())].append(name)
    return found


def weigh(out: Tensor) -> Tensor:
    """A scalar that depends on every output with a weight of its own, so that no symmetry hides a gradient."""
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(3), dtype=out.dtype)
    return (out * weights).sum()


def name_of(factory: Callable[..., Any]) -> str:
    """Name of a class, or of the class that a partial is of."""
    name: str = getattr(getattr(factory, "func", factory), "__name__", repr(factory))
    return name


def close(a: Tensor, b: Tensor) -> bool:
    """Equal but for the order of sums, NaN to NaN."""
    return a.shape == b.shape and torch.allclose(a, b, rtol=1e-8, atol=1e-9, equal_nan=True)


def draw(shapes: dict[str, Shape], batch: int) -> dict[str, Tensor]:
    """Normal features by name `(batch, *shape)`, in float64; a smaller batch is the beginning of a larger one."""
    return {
        name: torch.stack([sample(shape, 1000 * k + i) for i in range(batch)])
        for k, (name, shape) in enumerate(shapes.items())
    }


def sample(shape: Shape, seed: int) -> Tensor:
    """One normal sample."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Wrapped(nn.Module):
    """A part whose inputs are tensors in order, as `functional_call` wants them."""

    def __init__(self, module: nn.Module, case: Case, names: Sequence[str]) -> None:
        super().__init__()
        self.module, self.case, self.names = module, case, names

    def forward(self, *inputs: Tensor) -> Tensor:
        """Run the part."""
        return self.case.run(self.module, dict(zip(self.names, inputs, strict=True)))


def unregistered(module: nn.Module) -> Iterator[str]:
    """What the module or a module in it keeps where torch does not see it."""
    known = {id(x) for x in (*module.parameters(), *module.buffers(), *module.modules())}
    for sub in module.modules():
        if isinstance(sub, Metric):  # torchmetrics registers its states its own way
            continue
        for name, value in vars(sub).items():
            if name in ("_parameters", "_buffers", "_modules"):
                continue
            for x in held(value):
                where = f"`{name}` of {type(sub).__name__} holds"
                if id(x) in known:
                    continue
                if isinstance(x, nn.Parameter | nn.Module):
                    kind = "Parameter" if isinstance(x, nn.Parameter) else "Module"
                    container = f"{kind}Dict" if isinstance(value, dict) else f"{kind}List"
                    yield f"{where} a {type(x).__name__} in a plain {type(value).__name__}: take nn.{container}"
                else:
                    yield f"{where} a plain tensor: take `self.register_buffer`, or nn.Parameter if it is to be trained"


def held(value: object) -> Iterator[Tensor | nn.Module]:
    """Tensors and modules in plain containers."""
    if isinstance(value, Tensor | nn.Module):
        yield value
    elif isinstance(value, dict):
        for x in value.values():
            yield from held(x)
    elif isinstance(value, list | tuple | set):
        for x in value:
            yield from held(x)
