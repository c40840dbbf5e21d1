//! Where everything is: for the system, for a user, in one folder.

use std::env;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::rules::diagnostic::Diagnostic;
use crate::words::limits;

/// Where everything is. Folder lists go from the lowest precedence to the highest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The main file; it need not exist.
    pub main: PathBuf,
    /// hooks.d folders.
    pub hooks: Vec<PathBuf>,
    /// Folders with `platforms/*.rhai` and `sources/*.rhai`.
    pub scripts: Vec<PathBuf>,
    /// Folders with one file per secret.
    pub secrets: Vec<PathBuf>,
    /// Journal and last good versions.
    pub state: PathBuf,
    /// Where events wait while there is no daemon.
    pub spool: PathBuf,
    /// The emit socket.
    pub emit: PathBuf,
    /// The admin socket.
    pub admin: PathBuf,
}

impl Paths {
    /// The system's: /etc/postrider, /usr/lib/postrider, /run/postrider, /var/lib/postrider.
    pub fn system() -> Self {
        let [etc, lib, run] = ["/etc/postrider", "/usr/lib/postrider", "/run/postrider"].map(Path::new);
        Self {
            main: etc.join("postrider.yaml"),
            hooks: vec![lib.join("hooks.d"), run.join("hooks.d"), etc.join("hooks.d")],
            scripts: vec![lib.join("scripts"), etc.join("scripts")],
            secrets: vec![etc.join("secrets.d")],
            state: "/var/lib/postrider".into(),
            spool: "/var/spool/postrider".into(),
            emit: run.join("emit.sock"),
            admin: run.join("admin.sock"),
        }
    }

    /// A user's own: `~/.config/postrider`, `$XDG_RUNTIME_DIR/postrider`, `~/.local/state/postrider`.
    pub fn user() -> Self {
        Self::user_in(|name| env::var_os(name), env::home_dir())
    }

    /// Everything in one folder, for trying out: `run --here`.
    pub fn here(folder: &Path) -> Self {
        let hidden = folder.join(".postrider");
        Self {
            main: folder.join("postrider.yaml"),
            hooks: vec![folder.join("hooks.d")],
            scripts: vec![folder.join("scripts")],
            secrets: vec![hidden.join("secrets.d")],
            state: hidden.join("state"),
            spool: hidden.join("spool"),
            emit: hidden.join("emit.sock"),
            admin: hidden.join("admin.sock"),
        }
    }

    /// What a command uses when nothing is said: a daemon started with `run --here` in this folder, else the system's
    /// for root, else the user's own, unless only the system has a daemon: everybody may ask it, as far as the sockets
    /// let them. Where there is no daemon, a spool says where one will be.
    pub fn find() -> Self {
        Self::find_in(Path::new("."), rustix::process::geteuid().is_root(), Self::system(), Self::user())
    }

    /// Whether the sockets can be bound where they are meant to be.
    ///
    /// # Errors
    /// A path is longer than the system allows for a socket.
    pub fn check_sockets(&self) -> Result<(), Box<Diagnostic>> {
        for socket in [&self.emit, &self.admin] {
            let length = socket.as_os_str().as_bytes().len();
            if length > limits::SOCKET_PATH {
                let what = format!(
                    "the path of the socket {} has {length} bytes, and the system allows {}",
                    socket.display(),
                    limits::SOCKET_PATH
                );
                let help = "use a folder with a shorter path, or go there and name it '.'";
                return Err(Box::new(Diagnostic::error("socket-path", what).help(help)));
            }
        }
        Ok(())
    }

    fn find_in(folder: &Path, root: bool, system: Self, user: Self) -> Self {
        let here = Self::here(folder);
        // Whoever listens goes before whoever only left a spool.
        let listens = |paths: &Self| paths.admin.exists();
        let will = |paths: &Self| paths.spool.exists();
        if listens(&here) {
            here
        } else if listens(&system) && (root || !listens(&user)) {
            system
        } else if listens(&user) && !root {
            user
        } else if will(&here) {
            here
        } else if root || (will(&system) && !will(&user)) {
            system
        } else {
            user
        }
    }

    fn user_in(variable: impl Fn(&str) -> Option<OsString>, home: Option<PathBuf>) -> Self {
        // The XDG rules: a path that is not absolute counts as not set.
        let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = home.unwrap_or_else(|| "/".into());
        let config = absolute("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config")).join("postrider");
        let state = absolute("XDG_STATE_HOME").unwrap_or_else(|| home.join(".local/state")).join("postrider");
        // Nothing else is private and surely there: /tmp belongs to everybody.
        let run = absolute("XDG_RUNTIME_DIR").map_or_else(|| state.join("run"), |folder| folder.join("postrider"));
        Self {
            main: config.join("postrider.yaml"),
            hooks: vec![config.join("hooks.d")],
            scripts: vec![config.join("scripts")],
            secrets: vec![config.join("secrets.d")],
            spool: state.join("spool"),
            state,
            emit: run.join("emit.sock"),
            admin: run.join("admin.sock"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_paths_follow_xdg() {
        let plain = Paths::user_in(|_| None, Some("/home/ann".into()));
        assert_eq!(plain.main, Path::new("/home/ann/.config/postrider/postrider.yaml"));
        assert_eq!(plain.state, Path::new("/home/ann/.local/state/postrider"));
        assert_eq!(plain.emit, Path::new("/home/ann/.local/state/postrider/run/emit.sock"));

        let set = |name: &str| match name {
            "XDG_CONFIG_HOME" => Some("relative".into()),
            "XDG_STATE_HOME" => Some("/s".into()),
            "XDG_RUNTIME_DIR" => Some("/run/user/7".into()),
            _ => None,
        };
        let xdg = Paths::user_in(set, Some("/home/ann".into()));
        assert_eq!(xdg.hooks, [Path::new("/home/ann/.config/postrider/hooks.d")]);
        assert_eq!(xdg.state, Path::new("/s/postrider"));
        assert_eq!(xdg.admin, Path::new("/run/user/7/postrider/admin.sock"));
    }

    #[test]
    fn a_daemon_of_this_folder_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let [here, system, user] = ["here", "system", "user"].map(|name| Paths::here(&folder.path().join(name)));
        let find = |root| Paths::find_in(&folder.path().join("here"), root, system.clone(), user.clone());
        let start = |paths: &Paths| {
            std::fs::create_dir_all(paths.admin.parent().unwrap()).unwrap();
            std::fs::write(&paths.admin, "").unwrap();
        };
        assert_eq!((find(true), find(false)), (system.clone(), user.clone()));
        std::fs::create_dir_all(&system.spool).unwrap();
        assert_eq!((find(true), find(false)), (system.clone(), system.clone()));
        std::fs::create_dir_all(&here.spool).unwrap();
        assert_eq!((find(true), find(false)), (here.clone(), here.clone()));
        start(&system);
        assert_eq!((find(true), find(false)), (system.clone(), system.clone()));
        start(&user);
        assert_eq!((find(true), find(false)), (system.clone(), user.clone()));
        start(&here);
        assert_eq!((find(true), find(false)), (here.clone(), here.clone()));
    }

    #[test]
    fn a_socket_path_that_is_too_long_is_refused() {
        assert_eq!(Paths::system().check_sockets(), Ok(()));
        // The admin socket's path adds 22 bytes to the folder's.
        let folder = |length: usize| format!("/{}", "x".repeat(length - 1));
        assert_eq!(Paths::here(Path::new(&folder(107 - 22))).check_sockets().map_err(|error| error.what), Ok(()));
        let error = Paths::here(Path::new(&folder(108 - 22))).check_sockets().unwrap_err();
        assert!(error.what.ends_with("admin.sock has 108 bytes, and the system allows 107"), "{}", error.what);
    }
}
