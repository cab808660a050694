"""From a model's config.json to exact facts: layers, parameters, cache, checkpoint."""
