//! A local receiver that answers as the platform would, with its real error bodies and limits.
