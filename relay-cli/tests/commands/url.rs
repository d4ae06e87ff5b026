//! `relay url`, and what is wrong with an address.

use crate::{SECRET, run, vectors};

// proves: DIAL-1
#[test]
fn dial_urls_are_the_golden_ones() {
    for case in vectors("dial_url") {
        let url = case["input"]["url"].as_str().unwrap();
        let (stdout, stderr, code) = run(&["url", url]);
        let expected = format!("{}\n", case["expect"]["dial_url"].as_str().unwrap());
        assert_eq!((stdout, code), (expected, 0), "{}", case["name"]);
        assert_eq!(stderr.is_empty(), !url.contains('@'), "{stderr}");
    }
}

// proves: TOKEN-3
#[test]
fn a_user_in_a_url_is_warned_about_and_its_password_not_shown() {
    let url = format!("https://user:{SECRET}:x@h/base?a=b:c");
    let (stdout, stderr, code) = run(&["url", &url]);
    assert_eq!((stdout.as_str(), code), ("wss://user@h/base/relay?a=b:c\n", 0));
    assert!(stderr.contains("not used") && !stderr.contains(SECRET), "{stderr}");
    let url = format!("http://user:{SECRET}@127.0.0.1:1");
    let gateway = ["gateway", "--url", &url, "--platform", "p", "--bot-id", "b", "--no-reconnect"];
    let (stdout, stderr, _) = run(&gateway);
    assert!(stderr.contains("not used") && !stderr.contains(SECRET) && !stdout.contains(SECRET), "{stderr}{stdout}");
}

// proves: DIAL-1
#[test]
fn an_address_that_cannot_be_dialled_is_explained() {
    for bad in ["ftp://h", "connector.example", "https://", "", " ", "https://h:99999", "https://h/#f"] {
        let (stdout, stderr, code) = run(&["url", bad]);
        assert_eq!((stdout.as_str(), code), ("", 1), "{bad}");
        assert!(stderr.starts_with("relay: ") && stderr.contains("URL"), "{bad}: {stderr}");
    }
    assert!(!run(&["url", &format!("https://u:{SECRET}#x@h")]).1.contains(SECRET));
}
