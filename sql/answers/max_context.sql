-- How long can one sequence grow, prompt and output together?
-- $model: only this model
-- $accelerator: only this accelerator
-- $engine: only this engine
-- $weights: only this number format of the weights
-- $device_count: only plans of this many devices
-- $limit: rows at most (default: 20)
-- Alone on the replica: what memory holds, and what the model itself allows; the smaller of the two counts.
SELECT model, accelerator, device_count, weights, kv, engine,
       least(context_max_tokens, context_tokens_max)                              AS context_tokens,
       context_max_tokens                                                         AS memory_holds_tokens,
       context_tokens_max                                                         AS model_allows_tokens,
       if(context_max_tokens < context_tokens_max, 'memory', 'model')             AS limited_by
FROM plans($model, $accelerator, $engine, $weights, NULL, some_devices := $device_count)
QUALIFY row_number() OVER (
    PARTITION BY model, accelerator, device_count, weights, engine
    ORDER BY context_max_tokens DESC, kv, tp, pp, ep, dp, workload
) = 1
ORDER BY context_tokens DESC, device_count, memory_holds_tokens DESC, model, accelerator, weights, engine
LIMIT $limit::BIGINT
