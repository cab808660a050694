-- What is the biggest model that each accelerator holds?
-- $accelerator: only this accelerator
-- $engine: only this engine
-- $weights: only this number format of the weights
-- $workload: only this workload
-- $device_count: devices of one replica (default: 1)
-- $limit: rows at most (default: 20)
-- At least one sequence of the workload fits, at the cautious end of the memory band too.
SELECT accelerator, device_count, model,
       round(parameter_count / 1e9, 1)                       AS parameters_billion,
       weights, kv, engine, workload, batch_max,
       least(context_max_tokens, context_tokens_max)         AS context_tokens,
       round((weight_bytes + activation_bytes + overhead_bytes + sequence_bytes) / 1e9, 1) AS memory_gb,
       round(device_memory_bytes / 1e9, 1)                   AS device_gb
FROM plans(NULL, $accelerator, $engine, $weights, $workload)
WHERE batch_max_lo >= 1
  AND device_count = $device_count::BIGINT
QUALIFY row_number() OVER (
    PARTITION BY accelerator
    ORDER BY parameter_count DESC, batch_max DESC, model, workload, weights, kv, engine, tp, pp, ep, dp
) = 1
ORDER BY parameter_count DESC, accelerator
LIMIT $limit::BIGINT
