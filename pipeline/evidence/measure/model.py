"""A model of a real shape with random weights, run by transformers: what the article's experiment runs."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import PipelineError
from pipeline.evidence.extras import library
from pipeline.evidence.measure.machine import MISSING, Machine
from pipeline.evidence.measure.shapes import SMALL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
TINY: dict[str, Any] = {
    **dict.fromkeys(("num_hidden_layers", "num_attention_heads", "num_key_value_heads"), 1),
    "hidden_size": 64,
    "intermediate_size": 128,
    "vocab_size": 128,
}
LONGEST = 200


@contextmanager
def without_advice(transformers: Any) -> Iterator[None]:
    """Without advice about generation on stderr, which is for progress."""
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(level)


class Stamps:
    """Notes the time at which each token is there; generate() hands tokens over as the host receives them."""

    def __init__(self, machine: Machine) -> None:
        """Begin with no token."""
        self.machine = machine
        self.at: list[float] = []
        self.is_prompt = True

    def put(self, _tokens: Any) -> None:
        """Take the prompt, then a token of each sequence at a time."""
        if not self.is_prompt:
            self.at.append(self.machine.now())
        self.is_prompt = False

    def end(self) -> None:
        """Nothing more comes."""


@dataclass
class Experiment:
    """A model on a device, ready to run batches."""

    machine: Machine
    model: Any
    vocab: int
    weight_bytes: int = 0
    """Memory that is in use once the model is there, and was not before."""

    def peak_bytes(self, batch: int, prompt_tokens: int, output_tokens: int) -> int:
        """Largest memory in use while such a batch runs, the model's weights included.

        Raises:
            OutOfMemory: it does not fit.
        """
        self.machine.free()
        idle = self.machine.used_bytes()
        self.machine.reset_peak()
        self.machine.exact(on=True)
        self.generated_s(batch, prompt_tokens, output_tokens)
        return self.weight_bytes + self.machine.peak_bytes() - idle

    def token_s(self, batch: int, prompt_tokens: int, output_tokens: int) -> list[float]:
        """Seconds until each token is there, of a batch of random prompts.

        Raises:
            OutOfMemory: it does not fit.
        """
        self.machine.exact(on=False)
        return self.generated_s(batch, prompt_tokens, output_tokens)

    def generated_s(self, batch: int, prompt_tokens: int, output_tokens: int) -> list[float]:
        """Read random prompts and write exactly so many tokens each."""
        machine, torch = self.machine, self.machine.torch
        with machine.watched(), torch.inference_mode():
            prompts = torch.randint(self.vocab, (batch, prompt_tokens), device=machine.device)
            stamps = Stamps(machine)
            begun = machine.now()
            count = dict.fromkeys(("min_new_tokens", "max_new_tokens"), output_tokens)
            mask = torch.ones_like(prompts)
            self.model.generate(prompts, attention_mask=mask, do_sample=False, pad_token_id=0, streamer=stamps, **count)
        return [each - begun for each in stamps.at]


def wake(machine: Machine, form: str) -> None:
    """Run a tiny model once: code is loaded and libraries set themselves up, and neither is the model's memory.

    Raises:
        PipelineError: transformers is not installed.
    """
    machine.exact(on=True)
    with without_advice(library("transformers", MISSING)):
        Experiment(machine, build_model(machine, SMALL | TINY, form), TINY["vocab_size"]).generated_s(1, 8, 2)
    machine.free()


def build_experiment(machine: Machine, config: Mapping[str, Any], form: str) -> Experiment:
    """Build the model with random weights on the device; `wake` it first.

    Raises:
        PipelineError: transformers is not installed, or knows no such config.
        OutOfMemory: the weights alone do not fit.
    """
    machine.exact(on=True)
    empty = machine.used_bytes()
    with without_advice(library("transformers", MISSING)), machine.watched():
        model = build_model(machine, config, form)
    machine.free()
    vocab = int(model.config.get_text_config().vocab_size)
    return Experiment(machine, model, vocab, machine.used_bytes() - empty)


def build_model(machine: Machine, config: Mapping[str, Any], form: str) -> Any:
    """A model with random weights, that writes as long as it is asked to.

    Raises:
        PipelineError: transformers knows no such config.
    """
    transformers = library("transformers", MISSING)
    try:
        shape = transformers.AutoConfig.for_model(**{"model_type": "llama", **config})
        with machine.torch.device(machine.device):
            dtype = getattr(machine.torch, DTYPES[form])
            model = transformers.AutoModelForCausalLM.from_config(shape, dtype=dtype)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise PipelineError(f"transformers cannot build this config: {said[:LONGEST]}") from error
    model.generation_config.eos_token_id = None
    return model.eval()


def version() -> str:
    """The version of transformers."""
    return str(library("transformers", MISSING).__version__)
