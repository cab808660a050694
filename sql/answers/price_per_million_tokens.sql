-- What does a million tokens cost, and whose price is it?
-- $model: only this model
-- $accelerator: only this accelerator
-- $engine: only this engine
-- $weights: only this number format of the weights
-- $workload: only this workload
-- $limit: rows at most (default: 20)
-- The cheapest plan that meets the objectives, for each model and workload. The output price carries the prompts' prefill;
-- the input price is that prefill alone, per million prompt tokens: do not add the two.
SELECT model, workload,
       round(usd_per_mtok_output::DOUBLE, 3)                          AS usd_per_mtok_output,
       round(usd_per_mtok_input::DOUBLE, 3)                           AS usd_per_mtok_input,
       round(usd_per_mtok_output::DOUBLE * output_tokens / 1e3, 3)    AS usd_per_1000_requests,
       round(usd_per_hour::DOUBLE, 2)                                 AS usd_per_hour,
       accelerator, device_count, weights, engine,
       price_cloud, price_date
FROM plans($model, $accelerator, $engine, $weights, $workload) AS plans
WHERE batch_slo > 0 AND usd_per_mtok_output IS NOT NULL
QUALIFY row_number() OVER (
    PARTITION BY model, workload
    ORDER BY plans.usd_per_mtok_output, device_count, accelerator, weights, kv, engine, tp, pp, ep, dp
) = 1
ORDER BY plans.usd_per_mtok_output, model, workload
LIMIT $limit::BIGINT
