"""What a sized fleet costs: the bill, what each kind of token takes of it, energy, and the break-even with an API.

Each function is one column, named after it, and its parameters are the columns that it needs. `with_money` adds what
is asked for to a frame of one row for each fleet. It reads, where they are not there already made:

* the fleet: `devices` (all, spares included), `replicas`, `spare_replicas`, `device_count` (of one replica);
* the price: `device_usd_per_hour` (pipeline.facts.prices.device_prices);
* the traffic over the time that is billed: `mean_requests_per_s`, `prompt_tokens` (whole prompts), `prompt_cv`,
  `cached_prompt_ratio`, `output_tokens`;
* what tokens take of a replica, as pipeline.grid.load makes them: `prompt_token_s`, `prompt_pair_s`, `step_base_s`,
  `step_sequence_s`, `running_batch`;
* for FOOTPRINT: `power_w` (one working replica), `tdp_w` and `idle_power_ratio` (one device), `utilisation_ratio` (mean
  over all replicas), `host_w` (one device: pipeline.facts.owned.host_power), `pue_ratio`, `grid_g_per_kwh`
  (pipeline.facts.owned.site_of);
* for BREAK_EVEN: `slo_requests_per_s` (one replica), `api_usd_per_mtok_input`, `api_usd_per_mtok_cached` (null: as
  input), `api_usd_per_mtok_output`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from polars import Expr

from pipeline.core.money import HOURS_PER_MONTH
from pipeline.core.quantity import entered, evaluate, in_order

if TYPE_CHECKING:
    from collections.abc import Sequence

SECONDS_PER_HOUR = 3600.0


def reserve_replicas(needed_replicas: Expr, interruption_ratio: Expr) -> Expr:
    """Replicas kept besides those needed because devices may be taken away, rounded up.

    >>> from pipeline.core.quantity import at
    >>> at(reserve_replicas, needed_replicas=12, interruption_ratio=0.1)
    2
    """
    exact = needed_replicas * interruption_ratio
    return (exact - 1e-9).ceil().cast(pl.Int64)  # 30 times 0.1 is 3 and a rounding error


# ----- the bill


def usd_per_hour(devices: Expr, device_usd_per_hour: Expr) -> Expr:
    """Price of all devices of the row for an hour; null where no price is known for the device.

    A row is a fleet here, spares included.
    """
    return devices * device_usd_per_hour


def usd_per_month(usd_per_hour: Expr) -> Expr:
    """Price of the whole fleet for a twelfth of 8766 hours."""
    return usd_per_hour * HOURS_PER_MONTH


def usd_per_request(usd_per_hour: Expr, mean_requests_per_s: Expr) -> Expr:
    """The bill, shared out evenly over the requests; null without traffic.

    >>> from pipeline.core.quantity import at
    >>> at(usd_per_request, usd_per_hour=36.0, mean_requests_per_s=10.0)
    0.001
    """
    return usd_per_hour / (SECONDS_PER_HOUR * pl.when(mean_requests_per_s > 0.0).then(mean_requests_per_s))


# ----- whose time it is


def new_tokens(prompt_tokens: Expr, cached_prompt_ratio: Expr) -> Expr:
    """Tokens of a prompt that must be read."""
    return prompt_tokens * (1.0 - cached_prompt_ratio)


def cached_tokens(prompt_tokens: Expr, cached_prompt_ratio: Expr) -> Expr:
    """Tokens of a prompt whose cache is found from before."""
    return prompt_tokens * cached_prompt_ratio


def input_token_s(prompt_token_s: Expr, prompt_pair_s: Expr, new_tokens: Expr, prompt_cv: Expr) -> Expr:
    """Time of a replica for one prompt token that must be read: its arithmetic, and attention to new tokens before it.

    A prompt of u new tokens takes d u + e u^2 / 2; over lengths that vary, the square's mean is u^2 (1 + CV^2).
    """
    return prompt_token_s + prompt_pair_s * new_tokens * (1.0 + prompt_cv**2) / 2.0


def cached_token_s(prompt_pair_s: Expr, new_tokens: Expr, prompt_cv: Expr) -> Expr:
    """Time of a replica for one cached prompt token: attention of all new tokens to it, and nothing else."""
    return prompt_pair_s * new_tokens * (1.0 + prompt_cv**2)


def output_token_s(step_base_s: Expr, step_sequence_s: Expr, running_batch: Expr) -> Expr:
    """Time of a replica for one output token: its own part of a decode step, and a share of what all need.

    A step that runs has one sequence at least, though the mean over idle time may be less.
    """
    return step_base_s / running_batch.clip(1.0) + step_sequence_s


def request_work_s(
    new_tokens: Expr,
    cached_tokens: Expr,
    output_tokens: Expr,
    input_token_s: Expr,
    cached_token_s: Expr,
    output_token_s: Expr,
) -> Expr:
    """Time of a replica for all tokens of a mean request."""
    return new_tokens * input_token_s + cached_tokens * cached_token_s + output_tokens * output_token_s


def split_usd_per_mtok_input(usd_per_request: Expr, input_token_s: Expr, request_work_s: Expr) -> Expr:
    """Price of a million prompt tokens that must be read, by the time that they take.

    With cached and output tokens it adds up to the bill, idle time and spares shared out alike.
    """
    return 1e6 * usd_per_request * input_token_s / request_work_s


def split_usd_per_mtok_cached(usd_per_request: Expr, cached_token_s: Expr, request_work_s: Expr) -> Expr:
    """Price of a million cached prompt tokens, by the time that attention to them takes."""
    return 1e6 * usd_per_request * cached_token_s / request_work_s


def split_usd_per_mtok_output(usd_per_request: Expr, output_token_s: Expr, request_work_s: Expr) -> Expr:
    """Price of a million output tokens, by the time that they take: unlike in `capacity`, prompts are not in it."""
    return 1e6 * usd_per_request * output_token_s / request_work_s


def usd_per_mtok_output(usd_per_request: Expr, output_tokens: Expr) -> Expr:
    """The row's whole bill, prompts included, over its output tokens, a million of them.

    A row is a fleet here, idle time and spares included: not to be added to the split.
    """
    return 1e6 * usd_per_request / output_tokens


BILL = (
    *("usd_per_hour", "usd_per_month", "usd_per_request", "usd_per_mtok_output"),
    *("split_usd_per_mtok_input", "split_usd_per_mtok_cached", "split_usd_per_mtok_output"),
)
"""What the fleet costs."""


# ----- energy


def drawn_w(
    replicas: Expr,
    devices: Expr,
    device_count: Expr,
    power_w: Expr,
    tdp_w: Expr,
    idle_power_ratio: Expr,
    host_w: Expr,
    utilisation_ratio: Expr,
) -> Expr:
    """Mean power of the fleet's computers: devices between idle and at work by utilisation, and their hosts.

    Source: assumption, as of estimators/money/energy.
    """
    idle_w = idle_power_ratio * tdp_w * device_count
    return replicas * (idle_w + (power_w - idle_w) * utilisation_ratio.clip(0.0, 1.0)) + devices * host_w


def energy_kwh_per_month(drawn_w: Expr, pue_ratio: Expr) -> Expr:
    """Energy of the fleet with its share of the site's cooling and losses."""
    return drawn_w / 1000.0 * pue_ratio * HOURS_PER_MONTH


def output_mtok_per_month(mean_requests_per_s: Expr, output_tokens: Expr) -> Expr:
    """Millions of output tokens; null without traffic."""
    tokens = mean_requests_per_s * output_tokens * SECONDS_PER_HOUR * HOURS_PER_MONTH
    return pl.when(tokens > 0.0).then(tokens) / 1e6


def energy_kwh_per_mtok(energy_kwh_per_month: Expr, output_mtok_per_month: Expr) -> Expr:
    """Energy for a million output tokens, prompts, spares and idle time included."""
    return energy_kwh_per_month / output_mtok_per_month


def co2e_kg_per_month(energy_kwh_per_month: Expr, grid_g_per_kwh: Expr) -> Expr:
    """Greenhouse gases of that electricity, as CO2; making the devices is not in it."""
    return energy_kwh_per_month * grid_g_per_kwh / 1000.0


def co2e_kg_per_mtok(energy_kwh_per_mtok: Expr, grid_g_per_kwh: Expr) -> Expr:
    """Greenhouse gases for a million output tokens, as CO2."""
    return energy_kwh_per_mtok * grid_g_per_kwh / 1000.0


FOOTPRINT = ("energy_kwh_per_month", "energy_kwh_per_mtok", "co2e_kg_per_month", "co2e_kg_per_mtok")
"""What the fleet takes from the socket."""


# ----- against an API


def api_usd_per_request(
    new_tokens: Expr,
    cached_tokens: Expr,
    output_tokens: Expr,
    api_usd_per_mtok_input: Expr,
    api_usd_per_mtok_cached: Expr,
    api_usd_per_mtok_output: Expr,
) -> Expr:
    """What an API asks for a mean request; a cached token costs as any other where it names no price for it."""
    cached_usd = pl.coalesce(api_usd_per_mtok_cached, api_usd_per_mtok_input)
    prompt_usd = new_tokens * api_usd_per_mtok_input + cached_tokens * cached_usd
    return (prompt_usd + output_tokens * api_usd_per_mtok_output) / 1e6


def api_usd_per_month(api_usd_per_request: Expr, mean_requests_per_s: Expr) -> Expr:
    """What an API asks for this traffic."""
    return api_usd_per_request * mean_requests_per_s * SECONDS_PER_HOUR * HOURS_PER_MONTH


def breakeven_requests_per_month(usd_per_month: Expr, api_usd_per_request: Expr) -> Expr:
    """Requests at which the fleet, paid for in any case, costs what the API asks; null where the API is free."""
    return usd_per_month / pl.when(api_usd_per_request > 0.0).then(api_usd_per_request)


def breakeven_ratio(
    breakeven_requests_per_month: Expr, slo_requests_per_s: Expr, replicas: Expr, spare_replicas: Expr
) -> Expr:
    """The same as a share of what the fleet can serve without its spares; above 1 the API is always cheaper."""
    largest_per_month = slo_requests_per_s * (replicas - spare_replicas) * SECONDS_PER_HOUR * HOURS_PER_MONTH
    return breakeven_requests_per_month / largest_per_month


BREAK_EVEN = ("api_usd_per_month", "breakeven_requests_per_month", "breakeven_ratio")
"""The fleet beside an API."""

BOOK = {
    each.__name__: entered(each)
    for each in (
        *(usd_per_hour, usd_per_month, usd_per_request, new_tokens, cached_tokens),
        *(input_token_s, cached_token_s, output_token_s, request_work_s),
        *(usd_per_mtok_output, split_usd_per_mtok_input, split_usd_per_mtok_cached, split_usd_per_mtok_output),
        *(drawn_w, energy_kwh_per_month, output_mtok_per_month, energy_kwh_per_mtok),
        *(co2e_kg_per_month, co2e_kg_per_mtok),
        *(api_usd_per_request, api_usd_per_month, breakeven_requests_per_month, breakeven_ratio),
    )
}
"""Every column that this module makes; a book of its own, for some names mean one replica in `capacity`."""


def with_money(sized: pl.DataFrame, wanted: Sequence[str] = BILL) -> pl.DataFrame:
    """A frame of sized fleets with what was asked for beside its columns, and nothing made on the way.

    Args:
        sized: a row for each fleet, with the columns that the module names; columns already there are kept.
        wanted: any of BILL, FOOTPRINT, BREAK_EVEN.

    Raises:
        MissingInputError: a column that is needed is not there: all of them, each with what needs it.
        UnknownNameError: a wanted name is none of them.
    """
    made = evaluate(sized, in_order(BOOK, wanted, set(sized.columns)))
    return made.select(*sized.columns, *(name for name in wanted if name not in sized.columns))
