//! Which IP addresses are public. The others belong to this machine, to its network, or to nobody. A guest that could
//! connect to them would act from inside the network in which this machine stands.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A block of addresses that are not public, and what they are.
struct Block<A>(A, u32, &'static str);

const V4: &[Block<Ipv4Addr>] = &[
    Block(Ipv4Addr::new(0, 0, 0, 0), 32, "the unspecified address"),
    Block(Ipv4Addr::new(0, 0, 0, 0), 8, "an address of this network"),
    Block(Ipv4Addr::new(10, 0, 0, 0), 8, "a private address"),
    // Alibaba's metadata service.
    Block(Ipv4Addr::new(100, 100, 100, 200), 32, "a metadata address"),
    Block(Ipv4Addr::new(100, 64, 0, 0), 10, "an address shared behind a carrier's NAT"),
    Block(Ipv4Addr::new(127, 0, 0, 0), 8, "a loopback address"),
    // Azure's metadata service, which lies in a public block.
    Block(Ipv4Addr::new(168, 63, 129, 16), 32, "a metadata address"),
    Block(Ipv4Addr::new(169, 254, 169, 254), 32, "a metadata address"),
    Block(Ipv4Addr::new(169, 254, 0, 0), 16, "a link-local address"),
    Block(Ipv4Addr::new(172, 16, 0, 0), 12, "a private address"),
    Block(Ipv4Addr::new(192, 0, 0, 0), 24, "an address for protocol assignments"),
    Block(Ipv4Addr::new(192, 0, 2, 0), 24, "a documentation address"),
    Block(Ipv4Addr::new(192, 88, 99, 0), 24, "a 6to4 relay"),
    Block(Ipv4Addr::new(192, 168, 0, 0), 16, "a private address"),
    Block(Ipv4Addr::new(198, 18, 0, 0), 15, "a benchmark address"),
    Block(Ipv4Addr::new(198, 51, 100, 0), 24, "a documentation address"),
    Block(Ipv4Addr::new(203, 0, 113, 0), 24, "a documentation address"),
    Block(Ipv4Addr::new(224, 0, 0, 0), 4, "a multicast address"),
    Block(Ipv4Addr::new(255, 255, 255, 255), 32, "the broadcast address"),
    Block(Ipv4Addr::new(240, 0, 0, 0), 4, "a reserved address"),
];

const fn v6(first: u16, second: u16, third: u16) -> Ipv6Addr {
    Ipv6Addr::new(first, second, third, 0, 0, 0, 0, 0)
}

/// The block in which all public IPv6 addresses lie. Some blocks within it are not public.
const GLOBAL_UNICAST: (Ipv6Addr, u32) = (v6(0x2000, 0, 0), 3);

const V6: &[Block<Ipv6Addr>] = &[
    Block(Ipv6Addr::UNSPECIFIED, 128, "the unspecified address"),
    Block(Ipv6Addr::LOCALHOST, 128, "a loopback address"),
    Block(Ipv6Addr::UNSPECIFIED, 96, "an IPv4-compatible address"),
    Block(v6(0x64, 0xff9b, 1), 48, "a local NAT64 address"),
    Block(v6(0x100, 0, 0), 64, "a discard address"),
    Block(v6(0x2001, 0, 0), 23, "an address for protocol assignments"),
    Block(v6(0x2001, 0xdb8, 0), 32, "a documentation address"),
    Block(v6(0x3fff, 0, 0), 20, "a documentation address"),
    Block(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), 128, "a metadata address"),
    Block(v6(0xfc00, 0, 0), 7, "a unique-local address"),
    Block(v6(0xfe80, 0, 0), 10, "a link-local address"),
    Block(v6(0xfec0, 0, 0), 10, "a site-local address"),
    Block(v6(0xff00, 0, 0), 8, "a multicast address"),
];

/// Why an address is not public; nothing if it is public.
pub(super) fn not_public(address: IpAddr) -> Option<String> {
    match address {
        IpAddr::V4(address) => {
            let inside = |block: &&Block<Ipv4Addr>| {
                (address.to_bits() ^ block.0.to_bits()).checked_shr(32 - block.1).unwrap_or(0) == 0
            };
            V4.iter().find(inside).map(|Block(.., what)| (*what).to_owned())
        }
        IpAddr::V6(address) => match carried(address) {
            Some((form, carried)) => not_public(carried.into()).map(|why| format!("the {form} form of {why}")),
            None => {
                let block = V6.iter().find(|Block(base, length, _)| within(address, *base, *length));
                let what = block.map(|Block(.., what)| *what);
                let (base, length) = GLOBAL_UNICAST;
                what.or((!within(address, base, length)).then_some("no global address")).map(str::to_owned)
            }
        },
    }
}

fn within(address: Ipv6Addr, base: Ipv6Addr, length: u32) -> bool {
    (address.to_bits() ^ base.to_bits()) >> (128 - length) == 0
}

/// The IPv4 address to which an IPv6 address of this form leads.
fn carried(address: Ipv6Addr) -> Option<(&'static str, Ipv4Addr)> {
    let low = |bits: u128| Ipv4Addr::from_bits(u32::try_from(bits & u128::from(u32::MAX)).expect("32 bits"));
    let bits = address.to_bits();
    if within(address, Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96) {
        Some(("IPv4-mapped", low(bits)))
    } else if within(address, v6(0x64, 0xff9b, 0), 96) {
        Some(("NAT64", low(bits)))
    } else if within(address, v6(0x2002, 0, 0), 16) {
        Some(("6to4", low(bits >> 80)))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(address: &str) -> Option<String> {
        not_public(address.parse().expect("an address"))
    }

    #[test]
    fn addresses_of_the_machine_and_its_network_are_not_public() {
        for (address, what) in [
            ("0.0.0.0", "the unspecified address"),
            ("0.1.2.3", "an address of this network"),
            ("10.255.255.255", "a private address"),
            ("100.64.0.1", "an address shared behind a carrier's NAT"),
            ("100.127.255.255", "an address shared behind a carrier's NAT"),
            ("100.100.100.200", "a metadata address"),
            ("127.0.0.1", "a loopback address"),
            ("127.255.0.9", "a loopback address"),
            ("168.63.129.16", "a metadata address"),
            ("169.254.169.254", "a metadata address"),
            ("169.254.0.1", "a link-local address"),
            ("172.16.0.1", "a private address"),
            ("172.31.255.255", "a private address"),
            ("192.0.0.8", "an address for protocol assignments"),
            ("192.0.2.1", "a documentation address"),
            ("192.168.1.1", "a private address"),
            ("198.19.255.255", "a benchmark address"),
            ("198.51.100.7", "a documentation address"),
            ("203.0.113.7", "a documentation address"),
            ("224.0.0.1", "a multicast address"),
            ("239.255.255.255", "a multicast address"),
            ("250.0.0.1", "a reserved address"),
            ("255.255.255.255", "the broadcast address"),
            ("::", "the unspecified address"),
            ("::1", "a loopback address"),
            ("::7f00:1", "an IPv4-compatible address"),
            ("::808:808", "an IPv4-compatible address"),
            ("64:ff9b:1::1", "a local NAT64 address"),
            ("100::1", "a discard address"),
            ("2001::1", "an address for protocol assignments"),
            ("2001:db8::1", "a documentation address"),
            ("3fff:fff::1", "a documentation address"),
            ("fc00::1", "a unique-local address"),
            ("fd00:ec2::254", "a metadata address"),
            ("fdff::1", "a unique-local address"),
            ("fe80::1", "a link-local address"),
            ("febf::1", "a link-local address"),
            ("fec0::1", "a site-local address"),
            ("ff02::1", "a multicast address"),
            ("4000::1", "no global address"),
        ] {
            assert_eq!(why(address).as_deref(), Some(what), "{address}");
        }
    }

    #[test]
    fn an_ipv4_address_is_not_hidden_in_an_ipv6_address() {
        for (address, what) in [
            ("::ffff:127.0.0.1", "the IPv4-mapped form of a loopback address"),
            ("::ffff:169.254.169.254", "the IPv4-mapped form of a metadata address"),
            ("64:ff9b::10.0.0.1", "the NAT64 form of a private address"),
            ("2002:7f00:1::", "the 6to4 form of a loopback address"),
            ("2002:c0a8:101::1", "the 6to4 form of a private address"),
        ] {
            assert_eq!(why(address).as_deref(), Some(what), "{address}");
        }
    }

    #[test]
    fn the_neighbours_of_those_blocks_are_public() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2001:200::1",
            "2606:4700:4700::1111",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
        ] {
            assert_eq!(why(address), None, "{address}");
        }
    }
}
