//! `wasi:sockets`: no socket can be made, and no name looked up. The program gets an error, and the log names the remedy.

use crate::bindings::exports::wasi::sockets::{
    instance_network, ip_name_lookup, network, tcp, tcp_create_socket, udp, udp_create_socket,
};
use crate::bindings::ntwk::theater::runtime;
use crate::{Clock, Random, Shim, impossible};
use network::{ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, NetworkBorrow};
use tcp::ShutdownType;

/// The network, which nothing can be reached by.
pub struct Network;

/// A TCP socket. There is none.
pub enum TcpSocket {}

/// A UDP socket. There is none.
pub enum UdpSocket {}

/// The datagrams of a UDP socket, in either direction. There are none.
pub enum Datagrams {}

/// The addresses of a name. There are none.
pub enum Addresses {}

fn refused(what: &str) -> ErrorCode {
    runtime::log(&format!("an actor {what}: HTTP requests go through the handler `http-client`"));
    ErrorCode::AccessDenied
}

impl network::GuestNetwork for Network {}

impl<C: Clock, R: Random> network::Guest for Shim<C, R> {
    type Network = Network;
}

impl<C: Clock, R: Random> instance_network::Guest for Shim<C, R> {
    fn instance_network() -> instance_network::Network {
        network::Network::new(Network)
    }
}

impl<C: Clock, R: Random> tcp_create_socket::Guest for Shim<C, R> {
    fn create_tcp_socket(_: IpAddressFamily) -> Result<tcp_create_socket::TcpSocket, ErrorCode> {
        Err(refused("has no sockets"))
    }
}

impl<C: Clock, R: Random> udp_create_socket::Guest for Shim<C, R> {
    fn create_udp_socket(_: IpAddressFamily) -> Result<udp_create_socket::UdpSocket, ErrorCode> {
        Err(refused("has no sockets"))
    }
}

impl<C: Clock, R: Random> ip_name_lookup::Guest for Shim<C, R> {
    type ResolveAddressStream = Addresses;

    fn resolve_addresses(_: NetworkBorrow<'_>, _: String) -> Result<ip_name_lookup::ResolveAddressStream, ErrorCode> {
        Err(refused("looks up no names of hosts"))
    }
}

impossible! { ip_name_lookup::GuestResolveAddressStream, Addresses:
    fn resolve_next_address() -> Result<Option<IpAddress>, ErrorCode>;
    fn subscribe() -> ip_name_lookup::Pollable;
}

impossible! { tcp::GuestTcpSocket, TcpSocket:
    fn start_bind(NetworkBorrow<'_>, IpSocketAddress) -> Result<(), ErrorCode>;
    fn finish_bind() -> Result<(), ErrorCode>;
    fn start_connect(NetworkBorrow<'_>, IpSocketAddress) -> Result<(), ErrorCode>;
    fn finish_connect() -> Result<(tcp::InputStream, tcp::OutputStream), ErrorCode>;
    fn start_listen() -> Result<(), ErrorCode>;
    fn finish_listen() -> Result<(), ErrorCode>;
    fn accept() -> Result<(tcp::TcpSocket, tcp::InputStream, tcp::OutputStream), ErrorCode>;
    fn local_address() -> Result<IpSocketAddress, ErrorCode>;
    fn remote_address() -> Result<IpSocketAddress, ErrorCode>;
    fn is_listening() -> bool;
    fn address_family() -> IpAddressFamily;
    fn set_listen_backlog_size(u64) -> Result<(), ErrorCode>;
    fn keep_alive_enabled() -> Result<bool, ErrorCode>;
    fn set_keep_alive_enabled(bool) -> Result<(), ErrorCode>;
    fn keep_alive_idle_time() -> Result<u64, ErrorCode>;
    fn set_keep_alive_idle_time(u64) -> Result<(), ErrorCode>;
    fn keep_alive_interval() -> Result<u64, ErrorCode>;
    fn set_keep_alive_interval(u64) -> Result<(), ErrorCode>;
    fn keep_alive_count() -> Result<u32, ErrorCode>;
    fn set_keep_alive_count(u32) -> Result<(), ErrorCode>;
    fn hop_limit() -> Result<u8, ErrorCode>;
    fn set_hop_limit(u8) -> Result<(), ErrorCode>;
    fn receive_buffer_size() -> Result<u64, ErrorCode>;
    fn set_receive_buffer_size(u64) -> Result<(), ErrorCode>;
    fn send_buffer_size() -> Result<u64, ErrorCode>;
    fn set_send_buffer_size(u64) -> Result<(), ErrorCode>;
    fn subscribe() -> tcp::Pollable;
    fn shutdown(ShutdownType) -> Result<(), ErrorCode>;
}

impl<C: Clock, R: Random> tcp::Guest for Shim<C, R> {
    type TcpSocket = TcpSocket;
}

impossible! { udp::GuestUdpSocket, UdpSocket:
    fn start_bind(NetworkBorrow<'_>, IpSocketAddress) -> Result<(), ErrorCode>;
    fn finish_bind() -> Result<(), ErrorCode>;
    fn stream(Option<IpSocketAddress>) -> Result<(udp::IncomingDatagramStream, udp::OutgoingDatagramStream), ErrorCode>;
    fn local_address() -> Result<IpSocketAddress, ErrorCode>;
    fn remote_address() -> Result<IpSocketAddress, ErrorCode>;
    fn address_family() -> IpAddressFamily;
    fn unicast_hop_limit() -> Result<u8, ErrorCode>;
    fn set_unicast_hop_limit(u8) -> Result<(), ErrorCode>;
    fn receive_buffer_size() -> Result<u64, ErrorCode>;
    fn set_receive_buffer_size(u64) -> Result<(), ErrorCode>;
    fn send_buffer_size() -> Result<u64, ErrorCode>;
    fn set_send_buffer_size(u64) -> Result<(), ErrorCode>;
    fn subscribe() -> udp::Pollable;
}

impossible! { udp::GuestIncomingDatagramStream, Datagrams:
    fn receive(u64) -> Result<Vec<udp::IncomingDatagram>, ErrorCode>;
    fn subscribe() -> udp::Pollable;
}

impossible! { udp::GuestOutgoingDatagramStream, Datagrams:
    fn check_send() -> Result<u64, ErrorCode>;
    fn send(Vec<udp::OutgoingDatagram>) -> Result<u64, ErrorCode>;
    fn subscribe() -> udp::Pollable;
}

impl<C: Clock, R: Random> udp::Guest for Shim<C, R> {
    type UdpSocket = UdpSocket;
    type IncomingDatagramStream = Datagrams;
    type OutgoingDatagramStream = Datagrams;
}
