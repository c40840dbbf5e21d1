//! Who may do what at the two sockets. The kernel decides by the sockets' owners and modes, which are read from the units
//! that are packaged; the daemon writes down whom the kernel names. Played with real processes of other users, which takes
//! root: elsewhere it is said that nothing was played.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::json;

use crate::support::{Daemon, receiver, write_hook};

/// Numbers that no account has.
const DAEMON: u32 = 61_000;
const GROUPS: [(&str, u32); 3] = [("root", 0), ("postrider", 61_001), ("postrider-admin", 61_002)];

/// Who, user, groups, and whether the emit socket and the admin socket are open to them.
type Peer = (&'static str, u32, &'static [u32], bool, bool);

#[rustfmt::skip]
const PEERS: &[Peer] = &[
    ("root", 0, &[0], true, true),
    ("the daemon's own user", DAEMON, &[61_001, 61_002], true, true),
    ("a member of postrider", 61_003, &[61_003, 61_001], true, false),
    ("a member of postrider-admin", 61_004, &[61_004, 61_002], false, true),
    ("a member of both", 61_005, &[61_005, 61_001, 61_002], true, true),
    ("a stranger", 61_006, &[61_006], false, false),
    ("nobody", 65_534, &[65_534], false, false),
];

/// A command and the exit codes that say that it was let in. `ID` is a delivery.
type Row = (&'static [&'static str], &'static [i32]);

const EMIT: &[Row] =
    &[(&["emit", "thing", "by=arguments"], &[0]), (&["emit", "thing", "--data", "{\"a\": 1}", "--json"], &[0])];

#[rustfmt::skip]
const ADMIN: &[Row] = &[
    (&["status"], &[0]),
    (&["status", "--check"], &[0, 1]),
    (&["log"], &[0]),
    (&["queue"], &[0]),
    (&["queue", "--shape"], &[0]),
    (&["show", "first"], &[0]),
    (&["explain", "first"], &[0]),
    (&["hold", "one", "--for", "1h", "--reason", "tried"], &[0]),
    (&["release", "one"], &[0]),
    (&["flush"], &[0]),
    (&["replay", "--dead", "--yes"], &[0, 1]),
    (&["drop", "--hook", "one", "--yes"], &[0, 1]),
    (&["reload"], &[0]),
    (&["backup", "BACKUP"], &[0]),
];

/// What a socket unit says of its file.
fn of_unit(name: &str) -> BTreeMap<String, String> {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd").join(name);
    let text = fs::read_to_string(unit).unwrap();
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn open_as_packaged(socket: &Path, unit: &str) {
    let said = of_unit(unit);
    assert_eq!(said["SocketUser"], "root");
    let group = GROUPS.iter().find(|(name, _)| *name == said["SocketGroup"]).expect("a known group").1;
    let mode = u32::from_str_radix(&said["SocketMode"], 8).unwrap();
    chown(socket, Some(0), Some(group)).unwrap();
    fs::set_permissions(socket, fs::Permissions::from_mode(mode)).unwrap();
    assert_eq!(said["DirectoryMode"], "0755");
}

struct Stage {
    daemon: Daemon,
    /// A copy that everybody may run.
    program: PathBuf,
    open: tempfile::TempDir,
}

impl Stage {
    fn socket(&self, name: &str) -> PathBuf {
        self.daemon.folder.path().join(".postrider").join(name)
    }

    fn play(&self, peer: &Peer, socket: &str, arguments: &[&str]) -> Output {
        let (_, user, groups, ..) = peer;
        let listed: Vec<String> = groups.iter().map(u32::to_string).collect();
        let backup = self.open.path().join(format!("backup-{user}"));
        let mut command = Command::new("setpriv");
        command.args([
            &format!("--reuid={user}"),
            &format!("--regid={}", groups[0]),
            &format!("--groups={}", listed.join(",")),
        ]);
        command.args(["--inh-caps=-all", "--bounding-set=-all"].iter().filter(|_| *user != 0)).arg("--");
        command.arg(&self.program).arg("--socket").arg(self.socket(socket));
        command.args(arguments.iter().map(|argument| argument.replace("BACKUP", &backup.display().to_string())));
        command.current_dir("/").stdin(Stdio::null()).env("HOME", "/").env_remove("XDG_RUNTIME_DIR");
        command.output().expect("setpriv")
    }
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

async fn stage() -> Option<Stage> {
    if !rustix::process::geteuid().is_root() {
        println!("passed over: to be another user takes root");
        return None;
    }
    let sink = receiver().await;
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // Nobody answers there: what waits can be asked for and dropped.
    drop(sink);
    write_hook(folder.path(), "one", "events: [thing]\nplatform: webhook\noptions: {url: \"http://127.0.0.1:9/\"}\n");
    let daemon = Daemon::start_in(folder).await;
    let open = tempfile::tempdir().unwrap();
    fs::set_permissions(open.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let program = open.path().join("postrider");
    // By a process of its own: what another test starts meanwhile would have a file that we write open, and a program that is
    // open for writing cannot be run.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_postrider")).arg(&program).status().unwrap();
    assert!(copied.success());
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let stage = Stage { daemon, program, open };
    open_as_packaged(&stage.socket("emit.sock"), "postrider-emit.socket");
    open_as_packaged(&stage.socket("admin.sock"), "postrider-admin.socket");
    stage.daemon.emit(&json!({"type": "thing", "id": "first", "data": {}})).await;
    Some(stage)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_socket_is_for_its_group() {
    let Some(stage) = stage().await else { return };
    let (mut allowed, mut refused, mut wrong) = (0, 0, Vec::new());
    for peer in PEERS {
        let (who, _, _, may_emit, may_ask) = peer;
        for (socket, group, may, rows) in
            [("emit.sock", "postrider", may_emit, EMIT), ("admin.sock", "postrider-admin", may_ask, ADMIN)]
        {
            for (arguments, codes) in rows {
                let output = stage.play(peer, socket, arguments);
                let (code, text) = (output.status.code().unwrap_or(-1), said(&output));
                let as_it_should = match may {
                    true => codes.contains(&code),
                    // The message names the group that it takes, and not the other one.
                    false => {
                        code == 77
                            && text.contains(&format!("is for the group {group},"))
                            && text.contains("usermod -aG")
                    }
                };
                if !as_it_should {
                    wrong.push(format!("{who}, {}: {code}, {text}", arguments.join(" ")));
                }
                (allowed, refused) = if *may { (allowed + 1, refused) } else { (allowed, refused + 1) };
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!((allowed, refused), (4 * EMIT.len() + 4 * ADMIN.len(), 3 * EMIT.len() + 3 * ADMIN.len()));

    // Each event knows who handed it in, by the kernel's word; whoever was refused left none.
    let copy = stage.open.path().join("last.db");
    let copied = stage.play(&PEERS[0], "admin.sock", &["backup", copy.to_str().unwrap()]);
    assert!(copied.status.success(), "{}", said(&copied));
    let copy = rusqlite::Connection::open(copy).unwrap();
    let mut by = copy.prepare("SELECT DISTINCT peer_uid FROM events WHERE type = 'thing' ORDER BY peer_uid").unwrap();
    let by: Vec<u32> = by.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let expected: Vec<u32> = PEERS.iter().filter(|peer| peer.3).map(|peer| peer.1).collect();
    assert_eq!(by, expected);
    stage.daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_socket_does_not_do_the_work_of_the_other() {
    let Some(stage) = stage().await else { return };
    let member = PEERS.iter().find(|peer| peer.0 == "a member of postrider").unwrap();
    for (arguments, _) in ADMIN {
        let output = stage.play(member, "emit.sock", arguments);
        assert!(![Some(0), Some(77)].contains(&output.status.code()), "{arguments:?}: {}", said(&output));
    }
    let operator = PEERS.iter().find(|peer| peer.0 == "a member of postrider-admin").unwrap();
    for (arguments, _) in EMIT {
        let output = stage.play(operator, "admin.sock", arguments);
        assert!(![Some(0), Some(77)].contains(&output.status.code()), "{arguments:?}: {}", said(&output));
    }
    assert_eq!(stage.daemon.deliveries("one").await.len(), 1, "only what was there before");
    stage.daemon.stop().await;
}

/// A daemon that binds its sockets itself leaves the admin socket to its own user, whatever its group.
#[test]
fn sockets_of_a_users_own_daemon() {
    let folder = tempfile::tempdir().unwrap();
    // With the most careless mask there is.
    let mut daemon = Command::new("sh")
        .args(["-c", "umask 0; exec \"$0\" run --here", env!("CARGO_BIN_EXE_postrider")])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mode = |name: &str| fs::metadata(folder.path().join(".postrider").join(name)).map(|meta| meta.mode() & 0o777);
    let began = std::time::Instant::now();
    let as_it_should = || matches!((mode("emit.sock"), mode("admin.sock")), (Ok(0o660), Ok(0o600)));
    let mut seen = Vec::new();
    while !as_it_should() && began.elapsed() < crate::support::PATIENCE {
        seen.extend([mode("emit.sock"), mode("admin.sock")].into_iter().flatten());
        std::thread::sleep(std::time::Duration::from_micros(200));
    }
    let found = (mode("emit.sock").ok(), mode("admin.sock").ok());
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    assert_eq!(found, (Some(0o660), Some(0o600)));
    let open: Vec<String> = seen.iter().filter(|mode| **mode & 0o007 != 0).map(|mode| format!("{mode:o}")).collect();
    assert_eq!(open, [""; 0], "for a moment everybody could come in");
}
