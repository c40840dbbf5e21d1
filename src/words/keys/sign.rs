//! The grammar of signatures.

use super::{NOTHING, Shape, Table, Unless, key};
use crate::words::limits;

/// The grammar of signatures: `sign:` of what is sent, `verify:` of what is received.
pub static SIGN: Table = Table {
    name: "sign",
    keys: &[
        key("preset", Shape::Word(&PRESETS), NOTHING, "How a vendor signs; what is said besides wins."),
        key(
            "key",
            Shape::SigningKeys,
            Unless::Required,
            "`{secret: NAME}`, or a list of those while keys are exchanged.",
        ),
        key("header", Shape::Header, Unless::Otherwise("the preset's"), "Where the signature stands."),
        key("algorithm", Shape::Word(&ALGORITHMS), Unless::Default("hmac-sha256"), "With what is signed."),
        key("signed", Shape::Words(&CONTENTS), Unless::Default("body"), "What is signed."),
        key("encoding", Shape::Words(&ENCODINGS), Unless::Default("hex"), "How the signature is written."),
        key("prefix", Shape::AnyText, Unless::Otherwise("nothing"), "What stands in front of the signature."),
        key(
            "tolerance",
            Shape::Duration(limits::SIGNATURE_TOLERANCE_MIN, limits::SIGNATURE_TOLERANCE_MAX),
            Unless::Default("5m"),
            "To verify: how far the sender's clock may be off, either way.",
        ),
        key("timestamp_header", Shape::Header, NOTHING, "Where the timestamp stands."),
        key("id_header", Shape::Header, Unless::Default("webhook-id"), "Where the id stands."),
        key("key_encoding", Shape::Word(&KEY_ENCODINGS), Unless::Default("text"), "How the key is written."),
        key(
            "public_url",
            Shape::Url,
            Unless::Otherwise("the request's"),
            "To verify: the beginning of the URL as the sender knows it.",
        ),
    ],
};

/// The presets of `SIGN`.
pub const PRESETS: [&str; 8] =
    ["standard-webhooks", "gitlab", "github", "github-sha1", "stripe", "twilio", "grafana", "pushpushgo"];
/// Its algorithms.
pub const ALGORITHMS: [&str; 4] = ["hmac-sha1", "hmac-sha256", "hmac-sha512", "ed25519"];
/// What it signs.
pub const CONTENTS: [&str; 7] =
    ["body", "timestamp.body", "timestamp:body", "id.timestamp.body", "url+body", "url+sorted-params", "url+form"];
/// How it writes signatures.
pub const ENCODINGS: [&str; 2] = ["hex", "base64"];
/// How keys are written.
pub const KEY_ENCODINGS: [&str; 3] = ["text", "base64", "hex"];
