//! When again: exponential, with full jitter.
