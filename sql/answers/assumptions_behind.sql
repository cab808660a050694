-- Which assumptions do the answers rest on?
-- $model: only this model
-- $accelerator: only this accelerator
-- $engine: only this engine
-- $weights: only this number format of the weights
-- $workload: only this workload
-- $limit: rows at most (default: 20)
-- Facts without a source of their own, in anything that the chosen plans are made of; plans counts those that rest on the fact.
WITH chosen AS (
    SELECT model, accelerator, engine, weights, kv, workload, price_cloud, price_date, count(*) AS plans
    FROM plans($model, $accelerator, $engine, $weights, $workload)
    GROUP BY ALL
), parts AS (
    SELECT plans, chosen.model, chosen.accelerator, engine, workload, devices.architecture,
           concat_ws(' ', chosen.accelerator, price_cloud, price_date) AS price,
           weights, nullif(kv::VARCHAR, weights) AS kv,
           dense_kernel, if(moe_layers > 0, nullif(expert_kernel, dense_kernel), NULL) AS expert_kernel
    FROM chosen
    LEFT JOIN models ON models.model = chosen.model
    LEFT JOIN accelerators AS devices ON devices.accelerator = chosen.accelerator
    LEFT JOIN formats ON formats.format = chosen.weights
), used AS (
    SELECT plans, unnest([
        {'kind': 'model', 'name': model::VARCHAR}, {'kind': 'accelerator', 'name': accelerator::VARCHAR},
        {'kind': 'engine', 'name': engine::VARCHAR}, {'kind': 'workload', 'name': workload::VARCHAR},
        {'kind': 'price', 'name': price}, {'kind': 'architecture', 'name': architecture::VARCHAR},
        {'kind': 'format', 'name': weights::VARCHAR}, {'kind': 'format', 'name': kv::VARCHAR},
        {'kind': 'kernel', 'name': dense_kernel::VARCHAR}, {'kind': 'kernel', 'name': expert_kernel::VARCHAR},
        {'kind': 'step', 'name': 'default'}, {'kind': 'band', 'name': 'default'}], recursive := true)
    FROM parts
), resting AS (
    SELECT kind, name, sum(plans)::BIGINT AS plans
    FROM used
    GROUP BY ALL
), named AS ( -- a price is named after device, cloud, instance, market and day
    SELECT * REPLACE (if(kind = 'price', concat_ws(' ', split_part(name, ' ', 1), split_part(name, ' ', 2), split_part(name, ' ', -1)), name) AS name)
    FROM facts
)
SELECT DISTINCT kind, name, field, value, plans,
       round(plans / (SELECT sum(plans) FROM chosen), 2) AS plans_ratio
FROM resting JOIN named USING (kind, name)
WHERE source_kind IN ('assumption', 'default')
ORDER BY plans DESC, kind, name, field, value
LIMIT $limit::BIGINT
