//! Native events: JSON text to `Event`, and `Answer` to JSON text.
