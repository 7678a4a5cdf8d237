//! XCLIENT's arguments and PROXY headers: what is taken is said again as it was, and never as two lines.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waxseal::smtp::protocol::identity::{Identity, OFFER};
use waxseal::smtp::protocol::proxy_header::{self, Origin};

fuzz_target!(|octets: &[u8]| {
    if let Ok(Some((origin, length))) = proxy_header::parse(octets) {
        assert!(length <= octets.len());
        if let Origin::Client { source, destination } = origin {
            let written = proxy_header::written(source, destination);
            assert_eq!(proxy_header::parse(written.as_bytes()), Ok(Some((origin, written.len()))));
        }
    }
    let Ok(arguments) = std::str::from_utf8(octets) else { return };
    let local = "127.0.0.1:25".parse().expect("an address");
    let peer = Identity::connected(local, local);
    let Ok(client) = peer.announced(arguments) else { return };
    let offered: Vec<String> = OFFER.split(' ').skip(1).map(str::to_owned).collect();
    let said = client.xclient(&offered).expect("ADDR is offered");
    assert!(said.len() <= 510 && said.bytes().all(|octet| matches!(octet, b' '..=b'~')));
    let again = peer.announced(&said["XCLIENT ".len()..]).expect("what we say is well formed");
    assert_eq!((again.address, again.port), (client.address, client.port));
});
