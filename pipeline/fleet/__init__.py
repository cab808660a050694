"""From traffic to a fleet: demand, options, sizing, money, mixes under limits."""
