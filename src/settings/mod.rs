//! What a person may type or set, parsed.
