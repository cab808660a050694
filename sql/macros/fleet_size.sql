-- Replicas, devices and USD per hour for a request rate, for every plan that meets the objectives; cheapest first.
CREATE OR REPLACE MACRO fleet_size(a_model, a_workload, a_rate) AS TABLE
    SELECT accelerator, weights, kv, engine, tp, pp, ep, dp, batch, replicas,
           replicas * device_count AS devices,
           round((replicas * usd_per_hour)::DOUBLE, 2) AS fleet_usd_per_hour
    FROM (
        SELECT *, greatest(1, ceil(a_rate / requests_per_s))::BIGINT AS replicas
        FROM capacity
        WHERE model = a_model AND workload = a_workload AND batch_slo > 0
    )
    ORDER BY fleet_usd_per_hour NULLS LAST, devices, accelerator, weights, kv, engine, tp, pp, ep, dp;
