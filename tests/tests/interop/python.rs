//! Virtual environments with the reference in them, made once for each version and kept under the target directory.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What `gateway.relay.ws_transport` of the reference imports beyond itself, within the bounds of its own metadata. It asks
/// for much more, none of which a link needs. All but the first two are for `requests`, which 0.19 imports on the way.
const NEEDED: [&str; 7] = [
    "websockets==15.0.1",
    "pyyaml==6.0.3",
    "requests==2.33.0",
    "urllib3==2.8.0",
    "certifi==2026.5.20",
    "idna==3.20",
    "charset-normalizer==3.5.2",
];

/// The interpreters to try. The reference runs on 3.11 to 3.13.
const INTERPRETERS: [&str; 4] = ["python3", "python3.13", "python3.12", "python3.11"];
const SUITABLE: &str = "import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))";

/// An interpreter with this version of `hermes-agent`. `None`: there cannot be one, which was said.
pub(crate) fn with_reference(version: &str) -> Option<PathBuf> {
    match environment(version) {
        Ok(python) => Some(python),
        Err(problem) if std::env::var_os("RELAY_INTEROP").is_some_and(|value| value == "require") => {
            panic!("RELAY_INTEROP=require, and there is no hermes-agent {version}: {problem}")
        }
        Err(problem) => {
            // Not with `eprintln!`: the test harness keeps what a test that passes prints in that way to itself.
            let _ = writeln!(
                io::stderr(),
                "\n*** SKIPPED, nothing was shown: no hermes-agent {version}: {problem}\n\
                 *** RELAY_INTEROP=require makes this a failure.\n"
            );
            None
        }
    }
}

/// A script of ours, to be run by such an interpreter.
pub(crate) fn script(python: &Path, name: &str) -> Command {
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("interop").join(name));
    // Nothing is to be written beside the scripts, nor read or written in anybody's home.
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("HERMES_HOME", python.with_file_name("hermes-home"));
    for name in ["GATEWAY_RELAY_URL", "GATEWAY_ID", "GATEWAY_SECRET", "PYTHONPATH"] {
        command.env_remove(name);
    }
    command
}

fn environment(version: &str) -> Result<PathBuf, String> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop");
    fs::create_dir_all(&home).map_err(|error| error.to_string())?;
    let directory = home.join(format!("hermes-agent-{version}"));
    let (python, ready) = (directory.join("bin").join("python"), directory.join("ready"));
    // Tests run side by side, in several processes maybe: one of them makes it, the others wait for that.
    let lock = File::create(home.join(format!("hermes-agent-{version}.lock"))).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    let made = format!("{NEEDED:?}");
    if fs::read_to_string(&ready).is_ok_and(|what| what == made) && succeeds(Command::new(&python).arg("--version")) {
        return Ok(python);
    }
    let _ = fs::remove_dir_all(&directory);
    let interpreter = INTERPRETERS
        .into_iter()
        .find(|name| succeeds(Command::new(name).args(["-c", SUITABLE])))
        .ok_or("no Python 3.11, 3.12 or 3.13 with venv and pip")?;
    run(Command::new(interpreter).args(["-m", "venv"]).arg(&directory))?;
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"]);
    run(install.arg(format!("hermes-agent=={version}")).args(NEEDED))?;
    fs::write(&ready, made).map_err(|error| error.to_string())?;
    Ok(python)
}

fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}{}", output.status, String::from_utf8_lossy(&output.stderr)))
}
