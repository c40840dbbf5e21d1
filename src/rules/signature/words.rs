//! The words of the grammar.

use crate::rules::yaml::reader::nearest;

/// A word of a closed list.
pub(super) trait Word: Copy + PartialEq + 'static {
    /// What a list of them is called.
    const OF: &'static str;
    /// Each with what it means.
    const ALL: &'static [(&'static str, Self)];

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, known)| *known == self).map_or("", |(word, _)| word)
    }

    /// # Errors
    /// It is none of them: what is wrong, and what was probably meant.
    fn read(word: &str) -> Result<Self, (String, String)> {
        if let Some((_, known)) = Self::ALL.iter().find(|(known, _)| *known == word) {
            return Ok(*known);
        }
        let words: Vec<_> = Self::ALL.iter().map(|(word, _)| *word).collect();
        // `sha256` and `SHA-256` are what others call hmac-sha256.
        let help = match nearest(word, &words).or_else(|| nearest(&format!("hmac-{word}"), &words)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("use one of {}", words.join(", ")),
        };
        Err((format!("`{word}` is no {}", Self::OF), help))
    }
}

/// With what is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// HMAC-SHA1.
    HmacSha1,
    /// HMAC-SHA256.
    HmacSha256,
    /// HMAC-SHA512.
    HmacSha512,
    /// Ed25519.
    Ed25519,
}

impl Word for Algorithm {
    const OF: &'static str = "algorithm";
    const ALL: &'static [(&'static str, Self)] = &[
        ("hmac-sha1", Self::HmacSha1),
        ("hmac-sha256", Self::HmacSha256),
        ("hmac-sha512", Self::HmacSha512),
        ("ed25519", Self::Ed25519),
    ];
}

/// Which bytes are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// The body as it is.
    Body,
    /// Seconds since 1970, a dot, the body.
    TimestampDotBody,
    /// Seconds since 1970, a colon, the body.
    TimestampColonBody,
    /// The id, a dot, seconds since 1970, a dot, the body.
    IdTimestampBody,
    /// The URL, then the body.
    UrlBody,
    /// The URL, then name and value of each field, sorted.
    UrlSortedParams,
    /// The URL, then name and value of each field, in the order of the body.
    UrlForm,
}

impl Word for Content {
    const OF: &'static str = "way to put together what is signed";
    const ALL: &'static [(&'static str, Self)] = &[
        ("body", Self::Body),
        ("timestamp.body", Self::TimestampDotBody),
        ("timestamp:body", Self::TimestampColonBody),
        ("id.timestamp.body", Self::IdTimestampBody),
        ("url+body", Self::UrlBody),
        ("url+sorted-params", Self::UrlSortedParams),
        ("url+form", Self::UrlForm),
    ];
}

impl Content {
    pub(super) fn has_timestamp(self) -> bool {
        matches!(self, Self::TimestampDotBody | Self::TimestampColonBody | Self::IdTimestampBody)
    }

    pub(super) fn has_id(self) -> bool {
        self == Self::IdTimestampBody
    }

    pub(super) fn has_url(self) -> bool {
        matches!(self, Self::UrlBody | Self::UrlSortedParams | Self::UrlForm)
    }

    /// Whether it takes the body apart, so that only a form or a JSON object will do.
    pub(super) fn has_fields(self) -> bool {
        matches!(self, Self::UrlSortedParams | Self::UrlForm)
    }
}

/// How the signature is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Lower-case hexadecimal digits.
    Hex,
    /// The standard alphabet, padded.
    Base64,
}

impl Word for Encoding {
    const OF: &'static str = "encoding of a signature";
    const ALL: &'static [(&'static str, Self)] = &[("hex", Self::Hex), ("base64", Self::Base64)];
}

/// How the key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyEncoding {
    /// The text is the key.
    Text,
    /// Base64, with or without `whsec_`, `whsk_` or `whpk_` in front.
    Base64,
    /// Hexadecimal digits.
    Hex,
}

impl Word for KeyEncoding {
    const OF: &'static str = "encoding of a key";
    const ALL: &'static [(&'static str, Self)] = &[("text", Self::Text), ("base64", Self::Base64), ("hex", Self::Hex)];
}

/// What a vendor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preset {
    StandardWebhooks,
    Github,
    GithubSha1,
    Stripe,
    Twilio,
    Grafana,
    PushPushGo,
}

impl Word for Preset {
    const OF: &'static str = "preset";
    const ALL: &'static [(&'static str, Self)] = &[
        ("standard-webhooks", Self::StandardWebhooks),
        // Since version 19 GitLab signs so.
        ("gitlab", Self::StandardWebhooks),
        ("github", Self::Github),
        ("github-sha1", Self::GithubSha1),
        ("stripe", Self::Stripe),
        ("twilio", Self::Twilio),
        ("grafana", Self::Grafana),
        ("pushpushgo", Self::PushPushGo),
    ];
}
