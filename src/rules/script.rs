//! The one Rhai engine: pure functions over plain maps, bounded in operations, size, depth and time.
