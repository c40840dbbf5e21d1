//! Keys: read, used, never shown.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ring::hmac;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use super::words::{Algorithm, KeyEncoding};

/// A key, ready for use.
pub(super) struct Key {
    pub(super) algorithm: Algorithm,
    material: Material,
}

enum Material {
    Hmac(hmac::Key),
    Ed25519 { pair: Option<Box<Ed25519KeyPair>>, public: Vec<u8> },
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} ***", self.algorithm)
    }
}

const PUBLIC: &str = "this key can only verify: signing takes the private one";

/// What stands in front of the keys of Standard Webhooks.
const MARKS: [(&str, Algorithm); 3] =
    [("whsec_", Algorithm::HmacSha256), ("whsk_", Algorithm::Ed25519), ("whpk_", Algorithm::Ed25519)];

/// Vendors print keys with and without padding, and some in the alphabet for URLs.
const LOOSE: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LOOSE);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LOOSE);

/// How keys are to be understood.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Reading {
    pub(super) encoding: KeyEncoding,
    /// `None`: the mark in front of the key says it, and it is HMAC-SHA256 without one.
    pub(super) algorithm: Option<Algorithm>,
}

impl Key {
    /// Reads a key. What is wrong with it is said without a part of it.
    pub(super) fn read(text: &str, reading: Reading) -> Result<Self, String> {
        if text.is_empty() {
            return Err("the key is empty".to_owned());
        }
        if reading.encoding == KeyEncoding::Text {
            return Self::of(text.as_bytes(), reading.algorithm.unwrap_or(Algorithm::HmacSha256), "");
        }
        let text = text.trim();
        let mark = MARKS.iter().find(|(mark, _)| text.starts_with(mark) && reading.encoding == KeyEncoding::Base64);
        let (mark, marked) = mark.map_or(("", None), |(mark, algorithm)| (*mark, Some(*algorithm)));
        let algorithm = match (reading.algorithm, marked) {
            (Some(said), Some(Algorithm::Ed25519)) if said != Algorithm::Ed25519 => {
                return Err(format!("a key that begins with {mark} is for ed25519"));
            }
            (Some(Algorithm::Ed25519), Some(Algorithm::HmacSha256)) => {
                return Err("a key that begins with whsec_ is not for ed25519".to_owned());
            }
            (said, marked) => said.or(marked).unwrap_or(Algorithm::HmacSha256),
        };
        Self::of(&decoded(&text[mark.len()..], reading.encoding)?, algorithm, mark)
    }

    fn of(bytes: &[u8], algorithm: Algorithm, mark: &str) -> Result<Self, String> {
        if bytes.is_empty() {
            return Err("the key is empty".to_owned());
        }
        let hmac = |algorithm| Material::Hmac(hmac::Key::new(algorithm, bytes));
        let material = match algorithm {
            Algorithm::HmacSha1 => hmac(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
            Algorithm::HmacSha256 => hmac(hmac::HMAC_SHA256),
            Algorithm::HmacSha512 => hmac(hmac::HMAC_SHA512),
            Algorithm::Ed25519 => ed25519(bytes, mark)?,
        };
        Ok(Self { algorithm, material })
    }

    /// Signs some bytes, given in pieces.
    pub(super) fn sign(&self, pieces: &[&[u8]]) -> Result<Vec<u8>, String> {
        match &self.material {
            Material::Hmac(key) => Ok(tag(key, pieces)),
            Material::Ed25519 { pair: Some(pair), .. } => Ok(pair.sign(&pieces.concat()).as_ref().to_vec()),
            Material::Ed25519 { pair: None, .. } => Err(PUBLIC.to_owned()),
        }
    }

    pub(super) fn can_sign(&self) -> Result<(), String> {
        match &self.material {
            Material::Ed25519 { pair: None, .. } => Err(PUBLIC.to_owned()),
            _ => Ok(()),
        }
    }

    /// The one of these signatures that is right. How long it takes does not tell how much of a wrong one is right.
    pub(super) fn matching<'s>(&self, pieces: &[&[u8]], signatures: &'s [Vec<u8>]) -> Option<&'s Vec<u8>> {
        match &self.material {
            Material::Hmac(key) => {
                let right = tag(key, pieces);
                signatures.iter().find(|signature| crate::words::secret::equal(&right, signature))
            }
            Material::Ed25519 { public, .. } => {
                let (public, message) = (UnparsedPublicKey::new(&ED25519, public), pieces.concat());
                signatures.iter().find(|signature| public.verify(&message, signature).is_ok())
            }
        }
    }
}

fn tag(key: &hmac::Key, pieces: &[&[u8]]) -> Vec<u8> {
    let mut context = hmac::Context::with_key(key);
    pieces.iter().for_each(|piece| context.update(piece));
    context.sign().as_ref().to_vec()
}

/// A private key is its 32 bytes, mostly with the 32 of the public one behind them; 32 alone may also be a public key,
/// and which of the two is seen when they are used.
fn ed25519(bytes: &[u8], mark: &str) -> Result<Material, String> {
    const LENGTH: &str = "a key for ed25519 has 32 bytes, or 64 with the public key behind the private one";
    let unusable = |_| "these bytes are no key for ed25519".to_owned();
    let from_seed = |seed: &[u8]| Ed25519KeyPair::from_seed_unchecked(seed).map(Box::new).map_err(unusable);
    match (bytes.len(), mark) {
        (32, "whpk_") => Ok(Material::Ed25519 { pair: None, public: bytes.to_vec() }),
        (32, "whsk_") => {
            let pair = from_seed(bytes)?;
            let public = pair.public_key().as_ref().to_vec();
            Ok(Material::Ed25519 { pair: Some(pair), public })
        }
        (32, _) => Ok(Material::Ed25519 { pair: Some(from_seed(bytes)?), public: bytes.to_vec() }),
        (64, "whpk_") => Err("a key that begins with whpk_ has 32 bytes".to_owned()),
        (64, _) => {
            let (seed, public) = bytes.split_at(32);
            let pair = Ed25519KeyPair::from_seed_and_public_key(seed, public)
                .map_err(|_| "the two halves of this key do not belong together".to_owned())?;
            Ok(Material::Ed25519 { pair: Some(Box::new(pair)), public: public.to_vec() })
        }
        _ => Err(LENGTH.to_owned()),
    }
}

fn decoded(text: &str, encoding: KeyEncoding) -> Result<Vec<u8>, String> {
    match encoding {
        KeyEncoding::Text => Ok(text.as_bytes().to_vec()),
        KeyEncoding::Base64 => BASE64
            .decode(text)
            .or_else(|_| BASE64_URL.decode(text))
            .map_err(|_| "the key is not base64: look for a part that was lost in copying".to_owned()),
        KeyEncoding::Hex => super::from_hex(text).ok_or_else(|| "the key is not hexadecimal".to_owned()),
    }
}
