//! YAML cases of a platform script: an event and options in, the request out; an answer in, the verdict out.
