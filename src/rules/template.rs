//! Trees of templated leaves: a leaf that is exactly one `{{ expression }}` keeps its type, every other stays text.
