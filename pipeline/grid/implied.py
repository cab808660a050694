"""Parameters that a model's stated shapes imply: a check of catalog entries against themselves."""

from polars import Expr, col, sum_horizontal

from pipeline.estimators.attention import PROJECTIONS


def implied_parameters() -> Expr:
    """Parameters from the shapes of a catalog's model frame; norms, biases and routers left out.

    Source: the same projections and blocks as estimators/kernels.py.
    """
    tables = col("embedding_parameter_count") + _none(~col("tied_embeddings") * col("vocab") * col("hidden"))
    return tables + _attention() + _feed_forward() + _none(col("tower_parameter_count"))


def _none(expr: Expr) -> Expr:
    return expr.fill_null(0)


def _attention() -> Expr:
    hidden, heads = col("hidden"), col("heads")
    full = (
        heads * col("head_dim")
        + col("kv_heads") * (col("head_dim") + col("value_head_dim"))
        + heads * col("value_head_dim")
    )
    sliding = heads * col("sliding_head_dim") * 2 + col("sliding_kv_heads") * col("sliding_head_dim") * 2
    query_width, latent = heads * (col("nope_head_dim") + col("rope_head_dim")), col("query_latent_dim")
    query = (hidden * latent + latent * query_width).fill_null(hidden * query_width)
    key_value = hidden * (col("kv_latent_dim") + col("rope_head_dim")) + col("kv_latent_dim") * heads * (
        col("nope_head_dim") + col("value_head_dim")
    )
    mla = query + key_value + heads * col("value_head_dim") * hidden
    linear = hidden * (col("linear_in_width") + col("linear_out_width"))
    plain_layers = sum_horizontal(
        f"{kind}_layers" for kind, its in PROJECTIONS.items() if its == "gqa" and kind != "sliding"
    )
    plain = hidden * (full * plain_layers + sliding * col("sliding_layers"))
    return plain + _none(mla * col("mla_layers")) + _none(linear * col("linear_layers"))


def _feed_forward() -> Expr:
    matrices = 2 + col("gated_ffn").cast(int)
    plain = _none(col("dense_layers") * matrices * col("hidden") * col("ffn_width"))
    shared = _none(col("moe_layers") * matrices * col("hidden") * col("shared_expert_width"))
    return plain + shared + _none(col("expert_parameter_count"))
