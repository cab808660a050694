-- Which plans are undominated: none cheaper is as fast?
-- $model: only this model
-- $accelerator: only this accelerator
-- $engine: only this engine
-- $weights: only this number format of the weights
-- $workload: only this workload
-- $limit: rows at most (default: 20)
-- Cost of output against the time of a whole request, over all plans and batches that fit, for each model and workload.
-- At one price per hour and one batch the faster plan is also the cheaper, so that the first step drops no undominated plan.
WITH fastest AS (
    SELECT model, workload,
           min({'e2e_s': e2e_s, 'usd': usd_per_mtok_output, 'accelerator': accelerator, 'device_count': device_count,
                'weights': weights, 'kv': kv, 'engine': engine, 'tp': tp, 'pp': pp, 'ep': ep, 'dp': dp,
                'batch': batch, 'ttft_s': ttft_s, 'tpot_s': tpot_s}) AS plan
    FROM plans($model, $accelerator, $engine, $weights, $workload, a_table := 'estimates')
    WHERE fits AND usd_per_mtok_output IS NOT NULL
    GROUP BY model, workload, usd_per_hour, batch
), ranked AS (
    SELECT model, workload, unnest(plan),
           min(plan.e2e_s) OVER (
               PARTITION BY model, workload
               ORDER BY plan.usd, plan
               ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
           ) AS fastest_cheaper_s
    FROM fastest
)
SELECT model, workload,
       round(usd::DOUBLE, 3)        AS usd_per_mtok_output,
       round(e2e_s::DOUBLE, 3)      AS e2e_s,
       accelerator, device_count, weights, kv, engine, batch,
       round(1e3 * ranked.ttft_s, 1) AS ttft_ms,
       round(1e3 * ranked.tpot_s, 2) AS tpot_ms
FROM ranked
WHERE fastest_cheaper_s IS NULL OR ranked.e2e_s < fastest_cheaper_s
ORDER BY model, workload, ranked.usd, ranked.e2e_s
LIMIT $limit::BIGINT
