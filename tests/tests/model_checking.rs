//! Every state of small worlds.

use relay_tests::model::checker::{Report, World, explore};
use relay_tests::model::delivery::{Bounds, Delivery};

fn search(name: &str, world: &impl World) -> Report {
    match explore(world) {
        Ok(report) => {
            println!("{name}: {report}");
            report
        }
        Err(violation) => panic!("{name}: {violation}"),
    }
}

#[test]
fn peaceful() {
    search("peaceful", &Delivery::new(Bounds::peaceful(2, 1)));
}
#[test]
fn cut1() {
    search("cut1", &Delivery::new(Bounds { cuts: 1, ..Bounds::peaceful(2, 1) }));
}
#[test]
#[ignore]
fn tmp() {
    let v: Vec<u8> = std::env::var("W").unwrap().split(',').map(|x| x.parse().unwrap()).collect();
    let b = Bounds { cuts: v[2], gateway_crashes: v[3], connector_crashes: v[4], returns: v[5], refusals: v[6], idles: v[7], closes: v[8], presumes_forwards: v[9] > 0, ..Bounds::peaceful(v[0] as usize, v[1] as usize) };
    search("tmp", &Delivery::new(b));
}
#[test]
#[ignore]
fn tmp2() {
    use relay_tests::model::revocation;
    let v: Vec<u8> = std::env::var("W").unwrap().split(',').map(|x| x.parse().unwrap()).collect();
    let b = revocation::Bounds { dials: v[0], changes: v[1], freezes: v[2], requests: v[3], calls: v[4], strict: v[5] > 0 };
    search("tmp2", &revocation::Revocation::new(b));
}
