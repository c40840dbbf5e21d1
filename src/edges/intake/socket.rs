//! The emit socket: the first byte tells NDJSON from HTTP/1.1.
