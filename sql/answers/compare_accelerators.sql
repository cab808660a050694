-- How do accelerators compare, each with its best plan?
-- $model: only this model
-- $accelerator: only this accelerator
-- $engine: only this engine
-- $weights: only this number format of the weights
-- $workload: only this workload
-- $limit: rows at most (default: 20)
-- The plan that meets the objectives with most tokens per second and device; speed_ratio is against the best accelerator.
WITH best AS (
    SELECT *, output_tokens_per_s / device_count AS tokens_per_s_per_device
    FROM plans($model, $accelerator, $engine, $weights, $workload)
    WHERE batch_slo > 0
    QUALIFY row_number() OVER (
        PARTITION BY model, workload, accelerator
        ORDER BY tokens_per_s_per_device DESC, device_count, weights, kv, engine, tp, pp, ep, dp
    ) = 1
)
SELECT model, workload, accelerator,
       round(tokens_per_s_per_device::DOUBLE, 1)                                  AS tokens_per_s_per_device,
       round(best.tokens_per_s_per_device
             / max(best.tokens_per_s_per_device::DOUBLE) OVER (PARTITION BY model, workload), 2) AS speed_ratio,
       round(usd_per_mtok_output::DOUBLE, 3)                                      AS usd_per_mtok_output,
       device_count, weights, engine, batch,
       round(1e3 * best.ttft_s, 1)                                                AS ttft_ms,
       round(1e3 * best.tpot_s, 2)                                                AS tpot_ms
FROM best
ORDER BY model, workload, best.tokens_per_s_per_device DESC, accelerator
LIMIT $limit::BIGINT
