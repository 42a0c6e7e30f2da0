//! Binding UDP sockets, and the few socket calls that std does not have.

use std::io;
use std::mem::size_of;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use socket2::{Domain, Protocol, Socket, Type};

use crate::media::packet::DropReason;

/// Kernel buffers of a SIP socket, in bytes: a second of a busy shard's SIP.
pub const SIGNALLING_BUFFER: usize = 4 << 20;

/// Kernel receive buffer of a media socket, in bytes (the kernel doubles it):
/// what a stream of speech sends in about 1.6 s. A stall of a second loses
/// nothing, on our side or in the network, and a shard that cannot keep up does
/// not relay for long what nobody wants to hear any more.
const MEDIA_RECEIVE_BUFFER: usize = 32 << 10;

/// Differentiated services code point of media: expedited forwarding (RFC
/// 4594 section 4.1), as the traffic class byte.
const EXPEDITED: u32 = 46 << 2;

/// Binds a SIP socket. Every shard binds the same address (SO_REUSEPORT) and
/// the kernel spreads the peers over them. An IPv6 socket takes IPv6 only.
pub fn bind_signalling(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = udp_socket(address)?;
    socket.set_reuse_port(true)?;
    // The system's limits may cut these down: no reason not to start.
    let _ = socket.set_recv_buffer_size(SIGNALLING_BUFFER);
    let _ = socket.set_send_buffer_size(SIGNALLING_BUFFER);
    report_icmp_errors(&socket, address.is_ipv6())?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Binds a media socket. The port is given by number: one that the kernel
/// chose (port 0) would be lost when the socket is disconnected.
pub fn bind_media(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = udp_socket(address)?;
    let _ = socket.set_recv_buffer_size(MEDIA_RECEIVE_BUFFER);
    // Marking is a wish to the network; a refusal changes nothing else.
    let _ = match address.ip() {
        IpAddr::V4(_) => socket.set_tos_v4(EXPEDITED),
        IpAddr::V6(_) => socket.set_tclass_v6(EXPEDITED),
    };
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn udp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM.nonblocking().cloexec(),
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// Makes the kernel keep ICMP errors of an unconnected socket, with the
/// destination they are about, for [`take_icmp_error`].
fn report_icmp_errors(socket: &Socket, v6: bool) -> io::Result<()> {
    let (level, name) = match v6 {
        true => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
        false => (libc::IPPROTO_IP, libc::IP_RECVERR),
    };
    let on: libc::c_int = 1;
    // SAFETY: the option value is a live c_int of the length given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    checked(result).map(|_| ())
}

/// Takes one ICMP error off the socket's error queue: the destination it is
/// about, where that can be read. `None` when the queue is empty.
pub(super) fn take_icmp_error(fd: RawFd) -> Option<Option<SocketAddr>> {
    let mut name = RawAddress::default();
    let mut byte = [0u8; 1];
    let mut control = [0u64; 64];
    let mut iov = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: byte.len(),
    };
    // SAFETY: msghdr is plain data, for which all zeros is a valid value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = (&raw mut name.storage).cast();
    message.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
    message.msg_iov = &mut iov;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    // SAFETY: every pointer in the header is to a live local of the length
    // beside it.
    let result =
        unsafe { libc::recvmsg(fd, &mut message, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT) };
    if result < 0 {
        return None;
    }
    Some(name.decode())
}

/// Connects the socket: from now on it receives from `peer` only, and a send
/// needs no route lookup.
pub(super) fn connect(fd: RawFd, peer: SocketAddr) -> io::Result<()> {
    let raw = RawAddress::encode(peer);
    // SAFETY: `raw` holds an address of the length given.
    let result = unsafe { libc::connect(fd, raw.as_ptr(), raw.len()) };
    checked(result).map(|_| ())
}

/// Undoes [`connect`]; the bound port stays.
pub(super) fn disconnect(fd: RawFd) -> io::Result<()> {
    let unspecified = libc::sockaddr {
        sa_family: libc::AF_UNSPEC as libc::sa_family_t,
        sa_data: [0; 14],
    };
    // SAFETY: the address is a live sockaddr of the length given.
    let result = unsafe {
        libc::connect(
            fd,
            &unspecified,
            size_of::<libc::sockaddr>() as libc::socklen_t,
        )
    };
    checked(result).map(|_| ())
}

/// Raises the limit on open files as far as it may be raised, and returns it:
/// each leg has two sockets.
pub fn raise_file_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a live rlimit for the kernel to fill.
    checked(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is a live rlimit.
    checked(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) })?;
    Ok(limit.rlim_cur)
}

/// How many files this process may have open.
pub(super) fn file_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a live rlimit for the kernel to fill.
    checked(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    Ok(limit.rlim_cur)
}

/// Sends one datagram without waiting, to the connected peer where no address
/// is given.
pub(super) fn send_now(
    socket: &UdpSocket,
    to: Option<SocketAddr>,
    payload: &[u8],
) -> Result<(), DropReason> {
    let socket = socket2::SockRef::from(socket);
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    let sent = match to {
        Some(to) => socket.send_to_with_flags(payload, &to.into(), flags),
        None => socket.send_with_flags(payload, flags),
    };
    match sent {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(DropReason::SendBufferFull),
        Err(_) => Err(DropReason::SendFailed),
    }
}

/// The error of a system call that answered -1.
pub(super) fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

/// A socket address as the kernel reads and writes it.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct RawAddress {
    pub(super) storage: libc::sockaddr_in6,
}

/// Bytes that the kernel may write into a [`RawAddress`].
pub(super) const RAW_ADDRESS: usize = size_of::<libc::sockaddr_in6>();

impl Default for RawAddress {
    fn default() -> Self {
        RawAddress {
            // SAFETY: sockaddr_in6 is plain data, for which all zeros is valid.
            storage: unsafe { std::mem::zeroed() },
        }
    }
}

impl RawAddress {
    pub(super) fn encode(address: SocketAddr) -> RawAddress {
        let mut raw = RawAddress::default();
        match address {
            SocketAddr::V4(v4) => {
                let sin = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: v4.port().to_be(),
                    sin_addr: libc::in_addr {
                        s_addr: u32::from_ne_bytes(v4.ip().octets()),
                    },
                    sin_zero: [0; 8],
                };
                // SAFETY: a sockaddr_in6 is larger than a sockaddr_in and
                // aligned no less, and both are plain data.
                unsafe {
                    (&raw mut raw.storage)
                        .cast::<libc::sockaddr_in>()
                        .write(sin)
                };
            }
            SocketAddr::V6(v6) => {
                raw.storage.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                raw.storage.sin6_port = v6.port().to_be();
                raw.storage.sin6_flowinfo = v6.flowinfo();
                raw.storage.sin6_addr.s6_addr = v6.ip().octets();
                raw.storage.sin6_scope_id = v6.scope_id();
            }
        }
        raw
    }

    #[inline]
    pub(super) fn decode(&self) -> Option<SocketAddr> {
        match i32::from(self.storage.sin6_family) {
            libc::AF_INET => {
                // SAFETY: a sockaddr_in6 is larger than a sockaddr_in and
                // aligned no less, and both are plain data.
                let sin = unsafe { (&raw const self.storage).cast::<libc::sockaddr_in>().read() };
                Some(SocketAddr::V4(SocketAddrV4::new(
                    sin.sin_addr.s_addr.to_ne_bytes().into(),
                    u16::from_be(sin.sin_port),
                )))
            }
            libc::AF_INET6 => Some(SocketAddr::V6(SocketAddrV6::new(
                self.storage.sin6_addr.s6_addr.into(),
                u16::from_be(self.storage.sin6_port),
                self.storage.sin6_flowinfo,
                self.storage.sin6_scope_id,
            ))),
            _ => None,
        }
    }

    pub(super) fn as_ptr(&self) -> *const libc::sockaddr {
        (&raw const self.storage).cast()
    }

    pub(super) fn len(&self) -> libc::socklen_t {
        let bytes = match i32::from(self.storage.sin6_family) {
            libc::AF_INET => size_of::<libc::sockaddr_in>(),
            _ => size_of::<libc::sockaddr_in6>(),
        };
        bytes as libc::socklen_t
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_back_what_was_written() {
        for text in ["192.0.2.1:5060", "[2001:db8::7]:40000", "[fe80::1%3]:1"] {
            let address: SocketAddr = text.parse().expect("an address");
            assert_eq!(RawAddress::encode(address).decode(), Some(address));
        }
        assert_eq!(RawAddress::default().decode(), None);
    }

    #[test]
    fn two_shards_bind_the_same_sip_address() {
        let first = bind_signalling("127.0.0.1:0".parse().expect("an address")).expect("bound");
        let address = first.local_addr().expect("an address");
        bind_signalling(address).expect("bound again");
    }

    #[test]
    fn a_media_port_is_bound_once() {
        let first = bind_media("127.0.0.1:0".parse().expect("an address")).expect("bound");
        let address = first.local_addr().expect("an address");
        let error = bind_media(address).expect_err("taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_disconnected_socket_keeps_its_port_and_hears_everybody_again() {
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let bound = || UdpSocket::bind(any).expect("bound");
        let (one, two) = (bound(), bound());
        // By number, and none that the kernel gives to others by itself.
        let ours = (31_900..32_000)
            .find_map(|port| bind_media(([127, 0, 0, 1], port).into()).ok())
            .expect("bound");
        let address = ours.local_addr().expect("an address");
        connect(ours.as_raw_fd(), one.local_addr().expect("an address")).expect("connected");
        two.send_to(b"x", address).expect("sent");
        let mut buffer = [0; 8];
        assert!(ours.recv(&mut buffer).is_err());
        disconnect(ours.as_raw_fd()).expect("disconnected");
        assert_eq!(ours.local_addr().expect("an address"), address);
        two.send_to(b"x", address).expect("sent");
        assert_eq!(ours.recv(&mut buffer).expect("heard"), 1);
    }
}
