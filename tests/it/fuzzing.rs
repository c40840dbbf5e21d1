//! The short form of the fuzz targets: the corpus and mutations of it, through the same functions as under libFuzzer
//! (`tests/fuzz/run`, docs/faults.md).
//!
//! `POSTRIDER_MUTATIONS=100000 cargo test --test it fuzzing` makes more of them, `POSTRIDER_SEED` repeats a run. What a
//! target does not bear is left in a file, whose path is printed: once mended it belongs into the corpus.

use std::fs;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};

use fastrand::Rng;

#[path = "../fuzz/src/targets/mod.rs"]
mod targets;

/// Mutations of a target in the short form.
const MUTATIONS: usize = 1_500;

/// Pieces that change more than a byte does.
const PIECES: [&[u8]; 40] = [
    b"\0",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\xff",
    b"\xfe",
    b"\xef\xbb\xbf",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"\\ud800",
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b"{{",
    b"}}",
    b"{%",
    b"%}",
    b"|",
    b": ",
    b"- ",
    b"&a ",
    b"*a",
    b"!!",
    b"null",
    b"true",
    b"1e999",
    b"-0",
    b"9223372036854775808",
    b"0.1",
    b"\x1b[2J",
    b"\xe2\x80\xae",
    b"\xf0\x9f\x98\x80",
    b"\t",
    b"#",
    b"'",
    b"Transfer-Encoding: chunked\r\n",
    b"{{ secret('k') }}",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files of a target's corpus, and those of the project that are seeds as they are.
fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let mut folders = vec![root().join("tests/fuzz/corpus").join(name)];
    if name == "hook" {
        folders.extend(["hooks.d", "tests/hooks/good", "tests/hooks/bad"].map(|folder| root().join(folder)));
    }
    let mut files: Vec<_> = folders
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_none_or(|end| end != "expected"))
        .map(|path| (path.clone(), fs::read(&path).expect("a file of the corpus")))
        .collect();
    files.sort();
    files
}

fn mutate(rng: &mut Rng, corpus: &[(PathBuf, Vec<u8>)]) -> Vec<u8> {
    let mut data = rng.choice(corpus).expect("a corpus").1.clone();
    for _ in 0..rng.usize(1..6) {
        let at = rng.usize(..=data.len());
        let end = rng.usize(at..=data.len().min(at + 16));
        match rng.u8(..7) {
            0 if at < data.len() => data[at] ^= 1 << rng.u8(..8),
            1 if at < data.len() => data[at] = rng.u8(..),
            2 => drop(data.drain(at..end)),
            3 => data.truncate(at),
            4 => drop(data.splice(at..end, rng.choice(PIECES).expect("pieces").iter().copied())),
            5 => {
                let piece = data[at..end].repeat(rng.usize(1..40));
                drop(data.splice(at..at, piece));
            }
            _ => {
                let other = &rng.choice(corpus).expect("a corpus").1;
                let from = rng.usize(..=other.len());
                drop(data.splice(at..end, other[from..].iter().copied().take(64)));
            }
        }
    }
    data
}

/// Much for a build that is not optimised: sixty maps in each other take what a thread has.
const STACK: usize = 16 * 1024 * 1024;

fn bears(name: &'static str) {
    let target = targets::TARGETS.iter().find(|target| target.name == name).expect("a target");
    let corpus = corpus(name);
    assert!(corpus.len() >= 10, "{name} has only {} seeds", corpus.len());
    let seed =
        std::env::var("POSTRIDER_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("a number"));
    let count = std::env::var("POSTRIDER_MUTATIONS").map_or(MUTATIONS, |count| count.parse().expect("a number"));
    // Written first: what overflows the stack or never ends leaves nobody to write it.
    let tried = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-tried"));
    println!("{name}: seed {seed}; what it tries stands in {}", tried.display());
    let try_one = |data: &[u8]| {
        fs::write(&tried, data).expect("a file");
        (target.run)(data);
    };
    let run = || {
        for (path, data) in &corpus {
            println!("{}", path.display());
            try_one(data);
        }
        println!("mutations");
        let mut rng = Rng::with_seed(seed);
        for _ in 0..count {
            try_one(&mutate(&mut rng, &corpus));
        }
    };
    std::thread::scope(|scope| {
        let running = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run).expect("a thread");
        running.join().unwrap_or_else(|panic| resume_unwind(panic));
    });
    fs::remove_file(&tried).expect("what was borne is forgotten");
}

#[test]
fn every_target_has_its_test() {
    let mut names: Vec<_> = targets::TARGETS.iter().map(|target| target.name).collect();
    names.sort_unstable();
    assert_eq!(names, ["answer", "event", "framing", "hook", "intake", "template"]);
}

#[test]
fn lines_on_the_emit_socket_are_cut_right() {
    bears("framing");
}

#[test]
fn events_are_read_or_refused() {
    bears("event");
}

#[test]
fn http_intake_bears_any_bytes() {
    bears("intake");
}

#[test]
fn hook_files_are_read_or_refused() {
    bears("hook");
}

#[test]
fn answers_are_judged_whatever_they_are() {
    bears("answer");
}

#[test]
fn templates_stay_in_their_place() {
    bears("template");
}
