-- How much memory is left for the KV cache, and how many tokens does it hold?
-- $model: only this model
-- $accelerator: only this accelerator
-- $engine: only this engine
-- $weights: only this number format of the weights
-- $workload: only this workload
-- $device_count: only plans of this many devices
-- $limit: rows at most (default: 20)
-- Pool and cache are per device. The tokens are those of the largest batch of whole sequences, prompt and output together.
-- shown: what the engine's own figure of tokens implies; sequence: what one takes in whole pages; ideal: without pages and groups.
SELECT model, workload, accelerator, device_count, weights, kv, engine,
       round(kv_pool_bytes / 1e9, 1)                AS kv_pool_gb,
       kv_pool_tokens                               AS tokens_shown,
       round(kv_shown_bytes_per_token / 1e3, 1)     AS shown_kb_per_token,
       round(kv_bytes_per_token / 1e3, 1)           AS kv_kb_per_token,
       round(sequence_bytes / 1e6, 1)               AS sequence_mb,
       round(kv_ideal_bytes_per_sequence / 1e6, 1)  AS ideal_mb,
       batch_max,
       batch_max * (prompt_tokens + output_tokens)  AS pool_tokens
FROM plans($model, $accelerator, $engine, $weights, $workload, some_devices := $device_count)
WHERE batch_max > 0
QUALIFY row_number() OVER (
    PARTITION BY model, workload, accelerator, device_count, weights, kv, engine
    ORDER BY batch_max DESC, tp, pp, ep, dp
) = 1
ORDER BY model, workload, accelerator, device_count, batch_max DESC, weights, kv, engine
LIMIT $limit::BIGINT
