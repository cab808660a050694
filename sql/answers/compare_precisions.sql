-- What do smaller number formats buy?
-- $model: only this model
-- $accelerator: only this accelerator
-- $engine: only this engine
-- $weights: only this number format of the weights
-- $workload: only this workload
-- $device_count: only plans of this many devices
-- $limit: rows at most (default: 20)
-- On the same devices and within the objectives, each pair of weight and KV format with its fastest engine;
-- speed_ratio is against 16 bits there, unknown where those do not fit.
WITH best AS (
    SELECT *
    FROM plans($model, $accelerator, $engine, NULL, $workload, some_devices := $device_count)
    WHERE batch_slo > 0
    QUALIFY row_number() OVER (
        PARTITION BY model, workload, accelerator, device_count, weights, kv
        ORDER BY output_tokens_per_s DESC, engine, tp, pp, ep, dp
    ) = 1
), compared AS (
    SELECT *,
           max(output_tokens_per_s::DOUBLE) FILTER (
               WHERE weights IN ('bf16', 'fp16') AND kv IN ('bf16', 'fp16')
           ) OVER (PARTITION BY model, workload, accelerator, device_count) AS half_tokens_per_s
    FROM best
)
SELECT model, workload, accelerator, device_count, weights, kv,
       round(output_tokens_per_s::DOUBLE, 1)                    AS output_tokens_per_s,
       round(output_tokens_per_s / half_tokens_per_s, 2)        AS speed_ratio,
       round(weight_bytes / 1e9, 1)                             AS weights_gb,
       batch,
       round(1e3 * compared.tpot_s, 2)                          AS tpot_ms,
       engine
FROM compared
WHERE weights = coalesce($weights, weights)
ORDER BY model, workload, accelerator, device_count, compared.output_tokens_per_s DESC, weights, kv
LIMIT $limit::BIGINT
