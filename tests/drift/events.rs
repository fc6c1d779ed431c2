//! Events read side by side with `lambda_http`: on every golden event, which all are well-formed, both must understand the same request.
//! What is not well-formed it panics on or reads in its own way, which is why the functions do without it.

use std::{collections::BTreeMap, fs, path::Path};

use lambda_http::RequestExt;

#[test]
fn every_golden_event_is_read_as_lambda_http_reads_it() {
    let events = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events");
    let mut compared = 0;
    for provider in fs::read_dir(events)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
    {
        for case in fs::read_dir(provider).unwrap() {
            let case = case.unwrap().path();
            let event = fs::read_to_string(case.join("event.json")).unwrap();
            let (ours, _) = shared::lambda::read(&event);
            assert_eq!(ours.fault, None, "{}", case.display());
            let theirs = lambda_http::request::from_str(&event).unwrap();
            assert_eq!(ours.method, theirs.method().as_str(), "{}", case.display());
            assert_eq!(ours.path, theirs.raw_http_path(), "{}", case.display());
            assert_eq!(ours.body, theirs.body().as_ref(), "{}", case.display());
            let parameters: BTreeMap<_, _> = ours.path_parameters.into_iter().collect();
            let their_parameters = theirs
                .path_parameters()
                .iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect();
            assert_eq!(parameters, their_parameters, "{}", case.display());
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
                    "{}",
                    case.display()
                );
            }
            compared += 1;
        }
    }
    assert!(compared > 500, "only {compared} events were compared");
}
