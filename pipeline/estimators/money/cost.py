"""What the seconds cost."""

from polars import Expr

from pipeline.core.quantity import quantity


@quantity
def usd_per_hour(device_usd_per_hour: Expr, device_count: Expr) -> Expr:
    """Price of all devices of the row for an hour; null where no price is known for the device.

    A row is one replica here.

    Source: catalogs/prices, the cheapest cloud of the grid's market on the as-of date.
    """
    return device_usd_per_hour * device_count


@quantity
def usd_per_mtok_output(usd_per_hour: Expr, output_tokens_per_s: Expr) -> Expr:
    """The row's whole bill, prompts included, over its output tokens, a million of them.

    A row is one replica here, busy all of the time.

    Definition.

    >>> from pipeline.core.quantity import at
    >>> at(usd_per_mtok_output, usd_per_hour=3.6, output_tokens_per_s=1000.0)
    1.0
    """
    return (1e6 / 3600.0) * usd_per_hour / output_tokens_per_s


@quantity
def usd_per_mtok_input(
    usd_per_hour: Expr, joining_prompt_s: Expr, engine_flop_ratio: Expr, prompt_tokens: Expr, dp: Expr
) -> Expr:
    """Price of the prefill of a million prompt tokens alone: the marginal cost of input.

    Every data-parallel group reads prompts of its own at the same time.

    It is a part of usd_per_mtok_output, which carries everything; do not add the two.

    Definition.
    """
    return (1e6 / 3600.0) * usd_per_hour * joining_prompt_s / (engine_flop_ratio * prompt_tokens * dp)
