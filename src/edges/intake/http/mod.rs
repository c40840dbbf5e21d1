//! HTTP/1.1 intake, on TCP and on the emit socket: routes, bounds and answers.
