//! Which payment the path names.
//!
//! The path is matched with the route from the right, because a stage or a base path may precede
//! it. If API Gateway names the payment in the path parameters, their reading of it is taken.
//!
//! HTTP APIs decode the path before they pass it on. An encoded slash is then like any other, and a
//! dot segment may have been resolved: a path with either names no endpoint, whatever the source.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The payment id that `path`, percent-encoded, names under `route`
/// (`/payments/{payment_id}/cancel`), decoded.
///
/// `parameter` is the event source's own reading of it, decoded. A trailing slash is tolerated.
/// `None` if the path is not the route's.
#[must_use]
pub fn payment_id(route: &str, path: &str, parameter: Option<&str>) -> Option<String> {
    let segment = last(route, path)?;
    let id = parameter.map_or_else(|| decode(segment), Cow::Borrowed);
    let mut segments = path.split('/').map(decode);
    let ambiguous = id.contains('/') || is_dots(&id) || segments.any(|segment| is_dots(&segment));
    (!ambiguous).then(|| id.into_owned())
}

/// The name of the route's one parameter: `payment_id` of `/payments/{payment_id}/cancel`.
#[must_use]
pub fn parameter(route: &str) -> &str {
    route.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or("", |(name, _)| name)
}

/// Bytes that are not UTF-8 become U+FFFD: the path is still the route's, and no payment has that
/// id.
pub(crate) fn decode(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

/// The segment of `path` where `route` has its parameter, both read from the right.
fn last<'a>(route: &str, path: &'a str) -> Option<&'a str> {
    let mut segments = path.strip_suffix('/').unwrap_or(path).rsplit('/');
    let mut found = None;
    for expected in route.rsplit('/').filter(|segment| !segment.is_empty()) {
        let segment = segments.next()?;
        if expected.starts_with('{') {
            found = Some(segment);
        } else if expected != segment {
            return None;
        }
    }
    found
}

/// A segment that some servers resolve as a step in the tree (RFC 3986, section 3.3).
fn is_dots(segment: &str) -> bool {
    matches!(segment, "." | "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTE: &str = "/payments/{payment_id}/cancel";

    #[test]
    fn a_path_names_a_payment_or_no_endpoint() {
        for (path, named) in [
            ("/payments/pay_1/cancel", Some("pay_1")),
            ("/base/prod/payments/pay_1/cancel/", Some("pay_1")),
            ("/payments//cancel", Some("")),
            ("/payments/pay%255F1/cancel", Some("pay%5F1")),
            ("/payments/%C3%A9/cancel", Some("é")),
            ("/payments/%ff/cancel", Some("\u{fffd}")),
            ("/a..b/payments/..1./cancel", Some("..1.")),
            ("", None),
            ("/", None),
            ("/payments/pay_1", None),
            ("/payments/pay_1/cancel//", None),
            ("/payments/pay_1/CANCEL", None),
            ("/Payments/pay_1/cancel", None),
            ("/refunds/pay_1/cancel", None),
            ("pay_1/cancel", None),
            ("/a/../payments/1/cancel", None),
            ("/%2e/payments/1/cancel", None),
            ("/payments/%2e%2E/cancel", None),
        ] {
            assert_eq!(payment_id(ROUTE, path, None).as_deref(), named, "{path}");
            // A route of one's own, such as `/payments/{payment_id}/{proxy+}`, has its own reading.
            let given = payment_id(ROUTE, path, named.or(Some("pay_1")));
            assert_eq!(given.as_deref(), named, "{path}");
        }
        for (encoded, decoded) in [("a%2Fb", "a/b"), ("%2e%2e%2f", "../"), ("%2F", "/")] {
            let path = format!("/payments/{encoded}/cancel");
            assert_eq!(payment_id(ROUTE, &path, None), None, "{encoded}");
            assert_eq!(payment_id(ROUTE, &path, Some(decoded)), None, "{decoded}");
        }
    }

    #[test]
    fn the_parameter_has_the_routes_own_name() {
        assert_eq!(parameter(ROUTE), "payment_id");
        assert_eq!(parameter("/payments"), "");
    }
}
