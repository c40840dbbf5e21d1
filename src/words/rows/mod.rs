//! What `--json` prints, command by command: one object per line. The names are a promise. The published schema and the
//! manual pages are made of this, and a test holds the real output of every command to it.

mod acts;
mod files;
mod looks;

use self::acts::{COPIED, DELIVERY_ID, HELD, ORDERED, RELEASED, RELOADED};
use self::files::{
    ACCEPTED, CASE, DIAGNOSTIC, EVENT_MADE, IGNORED, JUDGED, PLATFORM, PROBED, RECEIVED, REFUSED, REQUEST, SIGNED,
    SOURCE, SPOOLED, VERIFIED,
};
use self::looks::{ATTEMPT, DELIVERY, DELIVERY_WHOLE, EVENT_WHOLE, EXPLAINED, HOOK_EXPLAINED, SHAPE, STATUS};
use crate::words::keys::VERDICTS;

/// One kind of object.
#[derive(Debug)]
pub struct Row {
    /// What it is called in the schema.
    pub name: &'static str,
    /// What it is, in one sentence.
    pub about: &'static str,
    /// Its members.
    pub fields: &'static [Field],
}

/// One member.
#[derive(Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub holds: Holds,
    /// What that means, in one sentence.
    pub about: &'static str,
}

/// What a member holds.
#[derive(Debug)]
pub enum Holds {
    /// A text.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A whole number that is not negative.
    Count,
    /// A whole number.
    Whole,
    /// `true` or `false`.
    Bool,
    /// A time in RFC 3339.
    Time,
    /// A list of texts.
    Texts,
    /// A list of pairs of texts.
    Pairs,
    /// Names, each with a text.
    Map,
    /// Names, each with a whole number.
    Counts,
    /// Any JSON value.
    Any,
    /// An object.
    One(&'static Row),
    /// A list of objects.
    Many(&'static Row),
    /// This, or null.
    OrNull(&'static Self),
    /// This; the member may be missing.
    Maybe(&'static Self),
}

/// Which command prints which objects. A command that is not here prints none.
pub static COMMANDS: &[(&str, &[&Row])] = &[
    ("emit", &[&ACCEPTED, &SPOOLED, &REFUSED, &HOOK_EXPLAINED, &DELIVERY]),
    ("test", &[&PROBED]),
    ("check", &[&DIAGNOSTIC, &IGNORED]),
    ("render", &[&REQUEST]),
    ("script", &[&CASE, &EVENT_MADE, &JUDGED]),
    ("platforms", &[&PLATFORM]),
    ("sources", &[&SOURCE]),
    ("sign", &[&SIGNED]),
    ("verify", &[&VERIFIED]),
    ("status", &[&STATUS]),
    ("log", &[&ATTEMPT]),
    ("queue", &[&DELIVERY, &SHAPE]),
    ("show", &[&DELIVERY_WHOLE, &EVENT_WHOLE]),
    ("explain", &[&EXPLAINED]),
    ("replay", &[&DELIVERY_ID, &ORDERED]),
    ("flush", &[&ORDERED]),
    ("drop", &[&ORDERED]),
    ("backup", &[&COPIED]),
    ("hold", &[&HELD]),
    ("release", &[&RELEASED]),
    ("reload", &[&RELOADED]),
    ("sink", &[&RECEIVED]),
];

const fn field(name: &'static str, holds: Holds, about: &'static str) -> Field {
    Field { name, holds, about }
}

const TEXT_OR_NULL: Holds = Holds::OrNull(&Holds::Text);
const COUNT_OR_NULL: Holds = Holds::OrNull(&Holds::Count);
const TIME_OR_NULL: Holds = Holds::OrNull(&Holds::Time);
const OUTCOME: Holds = Holds::Word(&["waiting", "delivered", "dead", "dropped"]);
/// A verdict, or nothing when no request could be made.
const VERDICT: Holds = Holds::Word(&[VERDICTS[0], VERDICTS[1], VERDICTS[2], VERDICTS[3], VERDICTS[4], ""]);

/// What `in` says.
const IN: &str = "The delivery in whose request it went the last time, where it went in a digest of another one.";
/// What `reason` says.
const REASON: &str = "The word of why it is not there yet, which `queue --why` takes; null when it does not wait.";
