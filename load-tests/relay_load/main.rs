//! What `load-tests/relay` measures relays with: a generator that is also the
//! sink, bare forwarders that give the practical limit, and a reflector in the
//! kernel that gives the generator's own.
//!
//! `relay_load generate --interface NAME --to MAC …` sends and takes RTP through
//! one packet socket; see [`generator`] for its commands.
//! `relay_load forward uring|epoll --streams FILE` moves it from leg to leg,
//! looking at nothing. `relay_load reflect --interface NAME` sends all UDP back
//! in the kernel, and `relay_load pass --interface NAME` is what the other end
//! of the veth pair needs for it. All but the first say `ready` and go on until standard input ends.

mod accounts;
mod arguments;
mod figures;
mod forward_epoll;
mod forward_uring;
mod forwarder;
mod generator;
mod handshakes;
mod packet_socket;
mod reflector;
mod streams;

use std::io;
use std::process::ExitCode;

use arguments::{Arguments, Task};

fn main() -> ExitCode {
    let arguments = match Arguments::read(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("relay_load: {problem}");
            return ExitCode::from(2);
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("relay_load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> io::Result<()> {
    if let Some(core) = arguments.core {
        accounts::pin_to_core(core)?;
    }
    match arguments.task {
        Task::Generate => generator::serve(arguments),
        Task::ForwardUring => forwarder::serve(arguments, forward_uring::forward),
        Task::ForwardEpoll => forwarder::serve(arguments, forward_epoll::forward),
        Task::Reflect => reflector::reflect(arguments),
        Task::Pass => reflector::pass(arguments),
    }
}
