//! Telling systemd how the service is, in the protocol of `sd_notify(3)`:
//! lines in one datagram to the socket that `NOTIFY_SOCKET` names.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;

use super::sockets::checked;

/// What a service says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceState {
    /// It has started: calls are taken.
    Ready,
    /// It reads its configuration again; `Ready` follows.
    Reloading,
    /// It is ending.
    Stopping,
    /// It is alive. Not said in time, it is started anew.
    Alive,
}

/// The service manager, where there is one.
#[derive(Debug, Default)]
pub struct ServiceManager {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// As the environment names it: `NOTIFY_SOCKET`, `WATCHDOG_USEC`,
    /// `WATCHDOG_PID`. Without `NOTIFY_SOCKET` there is none, and nothing is
    /// told to anybody.
    ///
    /// # Errors
    /// The socket that is named cannot be reached.
    pub fn of_environment(env: impl Fn(&str) -> Option<String>) -> io::Result<ServiceManager> {
        let Some(name) = env("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(ServiceManager::default());
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address(&name)?)?;
        // A manager that does not read is no reason to stand still.
        socket.set_nonblocking(true)?;
        let is_ours = env("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let watchdog = env("WATCHDOG_USEC")
            .and_then(|text| text.parse().ok())
            .filter(|micros| *micros > 0 && is_ours)
            .map(Duration::from_micros);
        Ok(ServiceManager {
            socket: Some(socket),
            watchdog,
        })
    }

    /// How often it wants to hear [`ServiceState::Alive`]; `None`: never. Half
    /// of its patience, as `sd_watchdog_enabled(3)` advises.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog.map(|patience| patience / 2)
    }

    /// Tells it.
    ///
    /// # Errors
    /// It did not take the datagram.
    pub fn tell(&self, state: ServiceState) -> io::Result<()> {
        let Some(socket) = &self.socket else {
            return Ok(());
        };
        let text = match state {
            ServiceState::Ready => "READY=1\n".to_owned(),
            ServiceState::Stopping => "STOPPING=1\n".to_owned(),
            ServiceState::Alive => "WATCHDOG=1\n".to_owned(),
            ServiceState::Reloading => {
                format!("RELOADING=1\nMONOTONIC_USEC={}\n", monotonic()?.as_micros())
            }
        };
        socket.send(text.as_bytes()).map(|_| ())
    }
}

/// A path, or the name of an abstract socket after an `@`.
fn address(name: &str) -> io::Result<SocketAddr> {
    match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(Path::new(name).as_os_str().as_bytes()),
        None => SocketAddr::from_pathname(name),
    }
}

/// What systemd compares a reload's start with.
fn monotonic() -> io::Result<Duration> {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is live for the kernel to fill.
    checked(unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) })?;
    Ok(Duration::new(
        now.tv_sec.unsigned_abs(),
        u32::try_from(now.tv_nsec).unwrap_or_default(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(name: &str, further: &[(&str, &str)]) -> io::Result<ServiceManager> {
        ServiceManager::of_environment(|wanted| {
            let socket = ("NOTIFY_SOCKET", name);
            let all = std::iter::once(&socket).chain(further);
            let found = all.into_iter().find(|(known, _)| *known == wanted);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn each_state_is_a_datagram_to_the_socket_of_the_environment() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let manager = manager(path.to_str().unwrap(), &[]).unwrap();
        for (state, text) in [
            (ServiceState::Ready, "READY=1\n"),
            (ServiceState::Alive, "WATCHDOG=1\n"),
            (ServiceState::Stopping, "STOPPING=1\n"),
        ] {
            manager.tell(state).unwrap();
            assert_eq!(heard(&socket), text);
        }
        manager.tell(ServiceState::Reloading).unwrap();
        let reloading = heard(&socket);
        let since = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
        assert!(since.unwrap().trim().parse::<u64>().unwrap() > 0);
    }

    #[test]
    fn an_abstract_socket_is_found_by_its_name() {
        let name = format!("ringwire-test-{}", std::process::id());
        let bound = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&bound).unwrap();
        let manager = manager(&format!("@{name}"), &[]).unwrap();
        manager.tell(ServiceState::Ready).unwrap();
        assert_eq!(heard(&socket), "READY=1\n");
    }

    #[test]
    fn the_watchdog_is_told_twice_in_its_patience_and_only_by_its_process() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let _socket = UnixDatagram::bind(&path).unwrap();
        let interval = |further: &[(&str, &str)]| {
            let manager = manager(path.to_str().unwrap(), further).unwrap();
            manager.watchdog_interval()
        };
        let patience = ("WATCHDOG_USEC", "30000000");
        let ours = std::process::id().to_string();
        assert_eq!(interval(&[patience]), Some(Duration::from_secs(15)));
        let with_pid = [patience, ("WATCHDOG_PID", ours.as_str())];
        assert_eq!(interval(&with_pid), Some(Duration::from_secs(15)));
        assert_eq!(interval(&[patience, ("WATCHDOG_PID", "1")]), None);
        assert_eq!(interval(&[]), None);
    }

    #[test]
    fn without_a_manager_nobody_is_told_and_one_that_is_not_there_is_an_error() {
        let nobody = ServiceManager::of_environment(|_| None).unwrap();
        nobody.tell(ServiceState::Ready).unwrap();
        assert!(manager("/no/such/socket", &[]).is_err());
    }
}
