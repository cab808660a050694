"""The report's charts: Vega-Lite specifications compiled to Vega, and the JavaScript that draws them.

Colours are CSS variables, so that one drawing follows light, dark and print. Data come by name from the page.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

from pipeline.core.errors import PipelineError
from pipeline.core.files import whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.publish.words import Words

COLOURS = 10
SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross")
PARTS = ("weights", "kv", "activations", "overhead", "free")
"""What fills a device, from the left; `--part-0` and so on are their colours."""
FONT = "system-ui, sans-serif"
"""What Vega measures labels by; the page's style names more."""
BUNDLED = "window.vegaEmbed = vegaEmbed;"
ROW = 30
HEIGHT = 360
POINT = 55
MISSING = "charts need altair and vl-convert: pip install 'capgrid[report]'"


@cache
def bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, from the cache of the user where it was made before.

    Raises:
        PipelineError: vl-convert is not installed.
    """
    vl_convert = library("vl_convert")
    path = cache_folder() / f"vega-{version('vl-convert-python')}-{crc32(BUNDLED.encode()):08x}.js"
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        script: str = vl_convert.javascript_bundle(BUNDLED).replace("</script", "<\\/script").replace("<!--", "<\\!--")
    try:
        with whole(path) as temporary:
            temporary.write_text(script, encoding="utf-8")
    except OSError:
        pass  # made again next time
    return script


def library(name: str) -> Any:
    """What draws charts, untyped.

    Raises:
        PipelineError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise PipelineError(MISSING) from error


def cache_folder() -> Path:
    """Where this user's caches stand."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "capgrid"


@dataclass(frozen=True)
class Kit:
    """What all charts are made with: altair, words, and the colour and shape of each accelerator."""

    alt: Any
    say: Words
    palette: Any
    shape: Any

    @property
    def colour(self) -> Any:
        """An accelerator's colour."""
        return self.alt.Color("accelerator:N", scale=self.palette, legend=None)

    @property
    def log(self) -> Any:
        """A logarithmic scale that ends where the data do."""
        return self.alt.Scale(type="log", nice=False, padding=12)

    def tips(self, **fields: str) -> list[Any]:
        """What is shown when pointing at a mark: its plan and fields, with titles in the report's language."""
        shown = {"plan": "plan:N"} | fields
        return [self.alt.Tooltip(field, title=self.say(f"tips.{key}")) for key, field in shown.items()]

    def few(self) -> Any:
        """A logarithmic axis whose labels do not run into each other."""
        return self.alt.Axis(format=",~r", tickCount=5, labelOverlap="greedy", labelFlush=True)

    def rows(self) -> Any:
        """A row for each accelerator, in the order of the data."""
        axis = self.alt.Axis(ticks=False, domain=False, labelColor="var(--ink)")
        return self.alt.Y("label:N", title=None, sort=None, axis=axis)


def charts(say: Words, accelerators: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The specifications by the id of the element that holds the chart, compiled to Vega.

    Args:
        say: titles.
        accelerators: all of the page, in the order of their colours.

    Raises:
        PipelineError: altair is not installed.
    """
    alt, vl_convert = library("altair"), library("vl_convert")
    domain = list(accelerators)
    colours = [f"var(--c{at % COLOURS})" for at, _ in enumerate(domain)]
    shapes = alt.Scale(domain=domain, range=[SHAPES[at % len(SHAPES)] for at, _ in enumerate(domain)])
    shape = alt.Shape("accelerator:N", scale=shapes, legend=None)
    kit = Kit(alt, say, alt.Scale(domain=domain, range=colours), shape)
    kinds = {"curves": curves_chart, "cost": cost_chart, "front": front_chart, "memory": memory_chart}
    drawn = {name: style_chart(alt, draw(kit), say(f"charts.{name}_described")) for name, draw in kinds.items()}
    return {name: vl_convert.vegalite_to_vega(chart.to_dict()) for name, chart in drawn.items()}


def style_chart(alt: Any, chart: Any, described: str) -> Any:
    """A chart that is as wide as its place and takes its colours from the page."""
    lines = {"domainColor": "var(--line)", "gridColor": "var(--grid)", "tickColor": "var(--line)"}
    titles = {"titleColor": "var(--muted)", "titleFontSize": 12, "titleFontWeight": "normal", "titlePadding": 8}
    labels = {"labelColor": "var(--muted)", "labelFontSize": 11, "labelPadding": 5, "labelLimit": 190}
    return (
        chart.properties(width="container", background="transparent", description=described)
        .configure(font=FONT, padding=4)
        .configure_view(stroke=None)
        .configure_axis(**lines, **titles, **labels, tickSize=4)
        .configure_axisX(titleAnchor="end")
    )


def curves_chart(kit: Kit) -> Any:
    """Throughput against time per output token, batch by batch, with the objective."""
    alt = kit.alt
    x = alt.X("tpot_ms:Q", title=kit.say("charts.tpot_axis"), scale=kit.log, axis=kit.few())
    y = alt.Y("tokens:Q", title=kit.say("charts.tokens_axis"), scale=kit.log, axis=kit.few())
    base = alt.Chart(alt.NamedData("curves"))
    line = base.mark_line(strokeWidth=1.6, opacity=0.8).encode(x=x, y=y, color=kit.colour, order="batch:Q")
    shown = kit.tips(batch="batch:Q", tpot="tpot:N", tokens="rate:N", in_time="said:N")
    own = alt.Fill("accelerator:N", scale=kit.palette, legend=None)
    dots = base.mark_point(size=POINT, filled=True, strokeWidth=1.4, opacity=1).encode(
        x=x,
        y=y,
        shape=kit.shape,
        tooltip=shown,
        fill=alt.condition("datum.in_time", own, alt.value("var(--card)")),
        stroke=alt.Stroke("accelerator:N", scale=kit.palette, legend=None),
    )
    goal = alt.Chart(alt.NamedData("objective"))
    rule = goal.mark_rule(color="var(--accent)", strokeDash=[5, 4], strokeWidth=1.5).encode(x="tpot_ms:Q")
    text = goal.mark_text(align="right", baseline="top", dx=-6, fontSize=11, fontWeight=600, color="var(--accent)")
    label = text.encode(x="tpot_ms:Q", y=alt.value(2), text="label:N")
    return (rule + line + dots + label).properties(height=HEIGHT)


def cost_chart(kit: Kit) -> Any:
    """Cost per million output tokens of each accelerator's best plan, with its interval."""
    alt, y = kit.alt, kit.rows()
    scale, title = alt.Scale(type="log", padding=24, nice=False), kit.say("charts.usd_axis")
    x = alt.X("usd:Q", title=title, scale=scale, axis=kit.few())
    low = alt.X("usd_lo:Q", title=title, scale=scale)
    base = alt.Chart(alt.NamedData("cost"))
    times = {"ttft": "ttft:N", "tpot": "tpot:N", "confidence": "confidence:N"}
    shown = kit.tips(batch="batch:Q", usd="price:N", interval="interval:N", **times)
    bar = base.mark_rule(strokeWidth=5, opacity=0.35, strokeCap="round")
    dot = base.mark_point(size=POINT * 1.6, filled=True, opacity=1)
    text = base.mark_text(dy=-11, fontSize=11, color="var(--ink)")
    drawn = (
        bar.encode(x=low, x2="usd_hi:Q", y=y, color=kit.colour, tooltip=shown)
        + dot.encode(x=x, y=y, color=kit.colour, shape=kit.shape, tooltip=shown)
        + text.encode(x=x, y=y, text="price:N")
    )
    return drawn.properties(height=alt.Step(ROW + 8))


def front_chart(kit: Kit) -> Any:
    """Plans that no other beats in both cost and time of a whole request."""
    alt = kit.alt
    x = alt.X("e2e_s:Q", title=kit.say("charts.e2e_axis"), scale=kit.log, axis=kit.few())
    y = alt.Y("usd:Q", title=kit.say("charts.usd_axis"), scale=kit.log, axis=kit.few())
    base = alt.Chart(alt.NamedData("front"))
    line = base.mark_line(interpolate="step-after", color="var(--muted)", strokeWidth=1.2, opacity=0.7)
    dots = base.mark_point(size=POINT * 1.6, filled=True, opacity=1)
    shown = kit.tips(batch="batch:Q", usd="price:N", e2e="time:N", tpot="tpot:N")
    marks = dots.encode(x=x, y=y, color=kit.colour, shape=kit.shape, tooltip=shown)
    return (line.encode(x=x, y=y, order="e2e_s:Q") + marks).properties(height=HEIGHT)


def memory_chart(kit: Kit) -> Any:
    """What fills one device of each accelerator's best plan."""
    alt, y = kit.alt, kit.rows()
    names = [kit.say(f"parts.{part}") for part in PARTS]
    colours = [f"var(--part-{at})" for at, _ in enumerate(PARTS)]
    x = alt.X("from_gb:Q", title=kit.say("charts.memory_axis"), axis=alt.Axis(tickCount=6, format=",~r"))
    base = alt.Chart(alt.NamedData("memory"))
    part = alt.Color("part:N", sort=names, scale=alt.Scale(domain=names, range=colours), legend=None)
    shown = kit.tips(part="part:N", memory="memory:N")
    bars = base.mark_bar(height=ROW * 0.6, stroke="var(--card)", strokeWidth=1)
    text = base.transform_filter("datum.text != ''").mark_text(fontSize=10.5)
    ink = alt.Color("ink:N", scale=None, legend=None)
    drawn = bars.encode(x=x, x2="to_gb:Q", y=y, color=part, tooltip=shown)
    drawn += text.encode(x="middle_gb:Q", y=y, text="text:N", color=ink)
    return drawn.resolve_scale(color="independent").properties(height=alt.Step(ROW))
