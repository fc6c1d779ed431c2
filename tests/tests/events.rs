//! Events read side by side with `lambda_http`: on every golden event, which all are well-formed, both must understand the same request.
//! What is not well-formed it panics on or reads in its own way, which is why the functions do without it.

use std::collections::BTreeMap;

use harness::golden::{cases, providers};
use lambda_http::RequestExt;

#[test]
fn every_golden_event_is_read_as_lambda_http_reads_it() {
    let mut compared = 0;
    for provider in providers().unwrap() {
        for case in cases(&provider).unwrap() {
            let (event, name) = (case.event.to_string(), &case.name);
            let (ours, _) = shared::lambda::read(&event);
            assert_eq!(ours.fault, None, "{provider}: {name}");
            let theirs = lambda_http::request::from_str(&event).unwrap();
            assert_eq!(ours.method, theirs.method().as_str(), "{provider}: {name}");
            assert_eq!(ours.path, theirs.raw_http_path(), "{provider}: {name}");
            assert_eq!(ours.body, theirs.body().as_ref(), "{provider}: {name}");
            let parameters: BTreeMap<_, _> = ours.path_parameters.into_iter().collect();
            let their_parameters = theirs
                .path_parameters()
                .iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect();
            assert_eq!(parameters, their_parameters, "{provider}: {name}");
            for name in theirs.headers().keys() {
                let lines = theirs.headers().get_all(name).iter();
                let lines = lines.map(|line| {
                    String::from_utf8(line.as_bytes().to_vec())
                        .unwrap()
                        .trim()
                        .to_owned()
                });
                assert_eq!(
                    ours.headers.lines(name.as_str()).collect::<Vec<_>>(),
                    lines.collect::<Vec<_>>(),
                    "{provider}: {name}"
                );
            }
            compared += 1;
        }
    }
    assert!(compared > 500, "only {compared} events were compared");
}
