-- What limits decoding, and what keeps the batch from growing?
-- $model: only this model
-- $accelerator: only this accelerator
-- $engine: only this engine
-- $weights: only this number format of the weights
-- $workload: only this workload
-- $limit: rows at most (default: 20)
-- Counts plans. limited_by: the longest part of a decode step; batch_stops_at: what a larger batch would break first.
WITH stops AS (
    SELECT model, workload, accelerator, limited_by,
           CASE WHEN batch_max = 0                          THEN 'does not fit'
                WHEN batch_slo = 0                          THEN 'objectives, at any batch'
                WHEN batch_slo >= least(batch_max, sequences_max)
                                                            THEN if(batch_max <= sequences_max, 'memory', 'engine limit')
                WHEN ttft_s / ttft_slo_s > tpot_s / tpot_slo_s THEN 'ttft objective'
                ELSE 'tpot objective' END AS batch_stops_at
    FROM plans($model, $accelerator, $engine, $weights, $workload)
)
SELECT model, workload, accelerator, limited_by, batch_stops_at,
       count(*)                                                                            AS plans,
       round(count(*) / sum(count(*)) OVER (PARTITION BY model, workload, accelerator), 2) AS plans_ratio
FROM stops
GROUP BY model, workload, accelerator, limited_by, batch_stops_at
ORDER BY model, workload, accelerator, plans DESC, limited_by, batch_stops_at
LIMIT $limit::BIGINT
