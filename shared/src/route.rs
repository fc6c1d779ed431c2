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

    fn id(path: &str) -> Option<String> {
        payment_id(ROUTE, path, None)
    }

    #[test]
    fn the_route_is_matched_from_the_right() {
        for path in [
            "/payments/pay_1/cancel",
            "/payments/pay_1/cancel/",
            "/prod/payments/pay_1/cancel",
            "/base/prod/payments/pay_1/cancel",
        ] {
            assert_eq!(id(path).as_deref(), Some("pay_1"), "{path}");
        }
        assert_eq!(id("/payments//cancel").as_deref(), Some(""));
    }

    #[test]
    fn another_path_names_no_endpoint() {
        for path in [
            "",
            "/",
            "/payments/pay_1",
            "/payments/pay_1/cancel//",
            "/payments/pay_1/CANCEL",
            "/Payments/pay_1/cancel",
            "/refunds/pay_1/cancel",
            "pay_1/cancel",
        ] {
            assert_eq!(id(path), None, "{path}");
            // A route of one's own, such as `/payments/{payment_id}/{proxy+}`.
            assert_eq!(payment_id(ROUTE, path, Some("pay_1")), None, "{path}");
        }
    }

    #[test]
    fn the_id_is_percent_decoded_once() {
        for (encoded, decoded) in
            [("pay%5F1", "pay_1"), ("pay%255F1", "pay%5F1"), ("%C3%A9", "é"), ("%ff", "\u{fffd}")]
        {
            let path = format!("/prod/payments/{encoded}/cancel");
            assert_eq!(id(&path).as_deref(), Some(decoded));
            let given = payment_id(ROUTE, &path, Some(decoded));
            assert_eq!(given.as_deref(), Some(decoded));
        }
    }

    #[test]
    fn an_encoded_slash_and_a_dot_segment_name_no_endpoint() {
        for encoded in ["a%2Fb", "%2e%2e%2f", "%2F", ".", "..", "%2E", "%2e%2E"] {
            let path = format!("/payments/{encoded}/cancel");
            assert_eq!(id(&path), None, "{encoded}");
        }
        for given in ["a/b", "../", "/", ".", ".."] {
            let path = format!("/payments/{given}/cancel");
            assert_eq!(payment_id(ROUTE, &path, Some(given)), None, "{given}");
        }
        for path in ["/a/../payments/1/cancel", "/%2e/payments/1/cancel"] {
            assert_eq!(id(path), None, "{path}");
            assert_eq!(payment_id(ROUTE, path, Some("1")), None, "{path}");
        }
        assert_eq!(id("/a..b/payments/..1./cancel").as_deref(), Some("..1."));
    }

    #[test]
    fn the_parameter_has_the_routes_own_name() {
        assert_eq!(parameter(ROUTE), "payment_id");
        assert_eq!(parameter("/payments"), "");
    }
}
