//! Kamailio as a registrar that asks for a password and passes calls on to
//! whoever is registered.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::sip::SipPeer;
use super::{Ports, eventually, require_program};

/// Where it is: apart from the callers, so that it can be told from them.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// A running registrar; every user's password is `secret`.
pub struct Kamailio {
    child: Child,
    address: SocketAddr,
    directory: TempDir,
}

impl Kamailio {
    /// Grants so many seconds at most.
    #[track_caller]
    pub fn start(ports: &mut Ports, expires: u32) -> Self {
        require_program("kamailio");
        let address = SocketAddr::from((ADDRESS, ports.one()));
        let directory = tempfile::tempdir().expect("a temporary directory");
        let configuration = directory.path().join("kamailio.cfg");
        std::fs::write(&configuration, text(address, expires)).expect("the configuration");
        let log = std::fs::File::create(directory.path().join("log")).expect("the log");
        let child = Command::new("kamailio")
            .args(["-DD", "-E", "-n", "1", "-m", "32", "-M", "4"])
            .arg("-f")
            .arg(&configuration)
            .arg("-Y")
            .arg(directory.path())
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log"))
            .stderr(log)
            .spawn()
            .expect("kamailio starts");
        let kamailio = Kamailio {
            child,
            address,
            directory,
        };
        kamailio.wait(ports);
        kamailio
    }

    /// Its SIP socket.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    #[track_caller]
    fn wait(&self, ports: &mut Ports) {
        let mut peer = SipPeer::open(ports, Ipv4Addr::LOCALHOST.into());
        eventually("kamailio answers", || {
            peer.invite(self.address, "nobody", "");
            let answer = peer.within(std::time::Duration::from_millis(200), &mut |message| {
                message.status().is_some_and(|code| code >= 200)
            });
            answer.map(drop)
        });
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        // Its processes end with the first one's SIGTERM.
        if let Ok(pid) = libc::pid_t::try_from(self.child.id()) {
            // SAFETY: no memory is involved; the child is ours and not yet waited for.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.directory.path().join("log"));
            eprintln!("--- kamailio's log ---\n{}\n---", log.unwrap_or_default());
        }
    }
}

fn text(address: SocketAddr, expires: u32) -> String {
    format!(
        r#"#!KAMAILIO
debug=1
log_stderror=yes
fork=yes
children=1
disable_tcp=yes
auto_aliases=no
listen=udp:{address}

loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "maxfwd.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "siputils.so"
loadmodule "auth.so"

modparam("usrloc", "db_mode", 0)
modparam("usrloc", "timer_interval", 1)
modparam("registrar", "default_expires", {expires})
modparam("registrar", "max_expires", {expires})
modparam("registrar", "min_expires", 0)

request_route {{
    if (!mf_process_maxfwd_header("10")) {{
        sl_send_reply("483", "Too Many Hops");
        exit;
    }}
    if (is_method("CANCEL")) {{
        if (t_check_trans()) t_relay();
        exit;
    }}
    if (has_totag()) {{
        if (loose_route()) {{
            t_relay();
        }} else if (is_method("ACK")) {{
            # Of a refusal of our own, or of one that is under way.
            if (t_check_trans()) t_relay();
        }} else {{
            sl_send_reply("404", "Not Here");
        }}
        exit;
    }}
    if (is_method("REGISTER")) {{
        if (!pv_auth_check("$td", "secret", "0", "1")) {{
            auth_challenge("$td", "1");
            exit;
        }}
        if (!save("location")) sl_reply_error();
        exit;
    }}
    if (!lookup("location")) {{
        sl_send_reply("404", "Not Found");
        exit;
    }}
    record_route();
    t_relay();
}}
"#
    )
}
