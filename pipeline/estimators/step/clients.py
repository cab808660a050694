"""What so many clients see of a replica, where some may wait for a place in the running batch."""

from polars import Expr

from pipeline.core.quantity import quantity


@quantity
def waiting_s(clients: Expr, batch: Expr, output_tokens: Expr, tpot_s: Expr) -> Expr:
    """Time that a client waits for a place in the running batch, where there are more clients than places.

    Source: step-time study, section 1, q = (c - b) / b x o x TPOT.
    """
    return (clients / batch - 1.0).clip(0.0) * output_tokens * tpot_s


@quantity
def client_ttft_s(ttft_s: Expr, waiting_s: Expr) -> Expr:
    """Time to first token as a client sees it, waiting included.

    Definition.
    """
    return ttft_s + waiting_s


@quantity
def client_e2e_s(e2e_s: Expr, waiting_s: Expr) -> Expr:
    """Time from a client's request to its last token, waiting included.

    Definition.
    """
    return e2e_s + waiting_s


@quantity
def client_requests_per_s(clients: Expr, client_e2e_s: Expr) -> Expr:
    """Requests that a replica finishes in a second, for so many clients.

    Source: Little's law.
    """
    return clients / client_e2e_s


@quantity
def client_output_tokens_per_s(client_requests_per_s: Expr, output_tokens: Expr) -> Expr:
    """Output tokens that a replica writes in a second, for so many clients.

    Definition.
    """
    return client_requests_per_s * output_tokens


@quantity
def client_total_tokens_per_s(client_requests_per_s: Expr, prompt_tokens: Expr, output_tokens: Expr) -> Expr:
    """Prompt and output tokens of a replica in a second, for so many clients.

    Definition.
    """
    return client_requests_per_s * (prompt_tokens + output_tokens)


@quantity
def decode_tokens_per_s(batch: Expr, decode_step_s: Expr, accepted_tokens: Expr) -> Expr:
    """Output tokens of a batch in a second while it only decodes, accepted drafts among them.

    Definition.
    """
    return batch * accepted_tokens / decode_step_s


@quantity
def prefill_tokens_per_s(batch: Expr, prompt_tokens: Expr, ttft_s: Expr) -> Expr:
    """Prompt tokens that are read in a second, until the first token of the last prompt.

    Definition.
    """
    return batch * prompt_tokens / ttft_s
