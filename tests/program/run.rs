//! Programs that tests run, the signals that they are sent, and their end, which no test waits for for ever.

use std::io::{Read, Seek};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::{PATIENCE, wait_within};

/// How a test runs a program that ends by itself.
pub(crate) trait Run {
    /// Runs it to its end, with nothing on stdin.
    fn run(&mut self) -> Output;

    /// Runs it to its end, with stdin as it is set.
    fn to_end(&mut self) -> Output;

    /// Whether it starts here, and succeeds.
    fn succeeds(&mut self) -> bool;
}

impl Run for Command {
    fn run(&mut self) -> Output {
        self.stdin(Stdio::null()).to_end()
    }

    fn to_end(&mut self) -> Output {
        try_run(self).unwrap_or_else(|error| panic!("{self:?}: {error}"))
    }

    fn succeeds(&mut self) -> bool {
        try_run(self.stdin(Stdio::null())).is_ok_and(|output| output.status.success())
    }
}

/// Whether a program starts here with these arguments, and succeeds.
pub(crate) fn works(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).succeeds()
}

/// Fails if the program cannot be started.
fn try_run(command: &mut Command) -> std::io::Result<Output> {
    // Into files: a pipe is at its end only once every child of the program has closed it, too.
    let [mut stdout, mut stderr] = [tempfile::tempfile()?, tempfile::tempfile()?];
    let mut child = command.stdout(stdout.try_clone()?).stderr(stderr.try_clone()?).spawn()?;
    let status = ended(&mut child);
    let mut output = Output { status: status.unwrap_or_default(), stdout: Vec::new(), stderr: Vec::new() };
    for (file, octets) in [(&mut stdout, &mut output.stdout), (&mut stderr, &mut output.stderr)] {
        file.rewind()?;
        file.read_to_end(octets)?;
    }
    assert!(status.is_some(), "{command:?} does not end: {output:?}");
    Ok(output)
}

/// Sends a signal to a process that nobody has waited for yet.
pub(crate) fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Waits until a process has ended; one that does not end in time is killed.
pub(crate) fn ended(child: &mut Child) -> Option<ExitStatus> {
    // What it does may be a lot, on a machine that is busy with other tests.
    let status = wait_within(3 * PATIENCE, || child.try_wait().unwrap());
    if status.is_none() {
        kill(child);
    }
    status
}

/// Kills a process and waits for its end, which then is certain.
pub(crate) fn kill(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
