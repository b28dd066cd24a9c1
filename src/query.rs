//! jq: filters, transforms and selections. The one place that knows the engine.
