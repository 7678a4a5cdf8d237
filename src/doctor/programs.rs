//! Other programs, asked for what they know. None may keep us waiting.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Where programs are, besides PATH: administrators' tools are not on everybody's.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Longest wait for a program.
const PATIENCE: Duration = Duration::from_secs(15);

/// Most that is read of what one writes, in octets.
const MAX_OUTPUT: u64 = 4 << 20;

/// The output of a program that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a program with nothing on its stdin; an error has the reason if it did not end.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<Ended, String> {
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => format!("there is no {program} here"),
        _ => format!("{program}: {error}"),
    };
    let path = std::env::var("PATH").map_or_else(|_| PATH.to_owned(), |path| format!("{path}:{PATH}"));
    // Files, so that neither side waits for the other.
    let (stdout, stderr) = (file(program)?, file(program)?);
    let output = (stdout.try_clone().map_err(failed)?, stderr.try_clone().map_err(failed)?);
    let mut child = Command::new(program)
        .args(arguments)
        .env("PATH", path)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(output.0)
        .stderr(output.1)
        .spawn()
        .map_err(failed)?;
    let status = wait(&mut child).ok_or_else(|| format!("{program} gives no answer"))?;
    Ok(Ended { status, stdout: text(stdout), stderr: text(stderr) })
}

fn file(program: &str) -> Result<File, String> {
    tempfile::tempfile().map_err(|error| format!("{program}: {error}"))
}

/// How it ended; `None` if it was stopped because it took too long.
fn wait(child: &mut Child) -> Option<ExitStatus> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
            Ok(None) | Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
}

fn text(mut file: File) -> String {
    let mut octets = Vec::new();
    // Output that cannot be read counts as none.
    let _ = file.rewind().and_then(|()| file.take(MAX_OUTPUT).read_to_end(&mut octets));
    String::from_utf8_lossy(&octets).into_owned()
}
