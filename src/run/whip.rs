//! The sockets of WHIP and the task that serves them.

#![allow(clippy::disallowed_methods, reason = "part of run.rs")]

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_all;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use crate::server::whip::{Hub, Outgoing, Peers, Whip};
use crate::time::monotonic;

/// No datagram of a browser is larger.
const DATAGRAM: usize = 2000;
/// Datagrams taken of one socket before the others are looked at.
const AT_ONCE: usize = 64;

/// Opens the UDP port for browsers and serves it until the last handle is dropped.
///
/// `public`: the addresses that browsers are told, where they differ from `listen` (a translated address); each with `listen`'s
/// port. Empty: the address of `listen`, or where that is the unspecified address, those of this machine's interfaces, each
/// with a socket of its own so that answers leave from the address that was asked.
///
/// # Errors
/// An address cannot be bound, or this machine has none.
pub async fn whip(listen: SocketAddr, public: &[IpAddr]) -> io::Result<Whip> {
    let mut sockets = Vec::new();
    let mut addresses = Vec::new();
    if listen.ip().is_unspecified() && public.is_empty() {
        let mut port = listen.port();
        for ip in interfaces(listen.is_ipv6())? {
            let socket = bind(SocketAddr::new(ip, port)).await?;
            // Port 0: the others have the port that the first got.
            port = socket.local_addr()?.port();
            addresses.push((socket.local_addr()?, sockets.len()));
            sockets.push(socket);
        }
    } else {
        let socket = bind(listen).await?;
        let local = socket.local_addr()?;
        let told = if public.is_empty() { vec![local.ip()] } else { public.to_vec() };
        addresses.extend(told.into_iter().map(|ip| (SocketAddr::new(ip, local.port()), 0)));
        sockets.push(socket);
    }
    let hub = Arc::new(Hub::new(Peers::new(addresses)));
    let mut serving = JoinSet::new();
    let served = Arc::clone(&hub);
    serving.spawn(async move { serve(&served, &sockets).await });
    Ok(Whip::new(hub, Arc::new(serving)))
}

async fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let bound = UdpSocket::bind(address).await;
    bound.map_err(|error| io::Error::new(error.kind(), format!("UDP {address}: {error}")))
}

/// The addresses of this machine that others may reach; the loopback one only where there is no other.
fn interfaces(six: bool) -> io::Result<Vec<IpAddr>> {
    let all: Vec<IpAddr> =
        if_addrs::get_if_addrs()?.iter().filter(|i| !i.is_link_local()).map(if_addrs::Interface::ip).collect();
    // The unspecified address of IPv6 stands for both families.
    let usable = |ip: &IpAddr| six || ip.is_ipv4();
    let mut outside: Vec<IpAddr> = all.iter().copied().filter(|ip| usable(ip) && !ip.is_loopback()).collect();
    if outside.is_empty() {
        outside.extend(all.iter().copied().filter(|ip| usable(ip)));
    }
    if outside.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::AddrNotAvailable,
            "this machine has no address that browsers could reach",
        ));
    }
    Ok(outside)
}

async fn serve(hub: &Hub, sockets: &[UdpSocket]) {
    let mut datagram = vec![0; DATAGRAM];
    loop {
        let (deadline, outgoing) = {
            let mut peers = hub.peers.lock().await;
            peers.advance(monotonic());
            let outgoing: Vec<Outgoing> = peers.outgoing().collect();
            (peers.deadline(), outgoing)
        };
        for Outgoing { socket, to, bytes } in outgoing {
            // What cannot be sent is lost, as on any network; the browser asks again.
            if let Err(error) = sockets[socket].send_to(&bytes, to).await {
                tracing::debug!(%to, %error, "a datagram was not sent");
            }
        }
        let wait = deadline.map_or(Duration::from_secs(60), |at| at.saturating_duration_since(monotonic()));
        tokio::select! {
            _ = select_all(sockets.iter().map(|socket| Box::pin(socket.readable()))) => {
                let mut peers = hub.peers.lock().await;
                for (number, socket) in sockets.iter().enumerate() {
                    for _ in 0..AT_ONCE {
                        let Ok((length, from)) = socket.try_recv_from(&mut datagram) else { break };
                        peers.receive(monotonic(), number, from, &datagram[..length]);
                    }
                }
            }
            () = tokio::time::sleep(wait) => {}
            () = hub.changed.notified() => {}
        }
    }
}
