//! Which payment the path names.
//!
//! API Gateway says it in `pathParameters`. A load balancer and a Function URL do not, and a stage or a base path may
//! stand in front, so the route is then matched from the right.
//!
//! HTTP APIs decode the path before they hand it over. An encoded slash then looks like any other, and a dot segment may have been resolved or not: a path with either
//! names no payment, whoever carried it.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The path as a front end hands it over.
#[derive(Debug, Clone, Copy)]
pub struct Path<'a> {
    /// With or without a stage or a base path in front.
    pub text: &'a str,
    /// The front end's own reading of it, if it has one.
    pub parameters: &'a [(String, String)],
    /// Whether the front end has percent-decoded both.
    pub decoded: bool,
}

/// The payment id that `path`, which ends like `route` (`/payments/{payment_id}/cancel`), names, or `None` where it names none.
#[must_use]
pub fn payment_id<'a>(route: &str, path: &Path<'a>) -> Option<Cow<'a, str>> {
    let decode = |text: &'a str| {
        if path.decoded {
            Some(Cow::Borrowed(text))
        } else {
            // Bytes that are no UTF-8 name nothing.
            percent_decode_str(text).decode_utf8().ok()
        }
    };
    let name = parameter(route);
    let given = path.parameters.iter().filter(|(given, _)| given == name);
    let mut given = given.map(|(_, id)| id.as_str());
    let id = match given.next() {
        // The same parameter with another value would be another payment.
        Some(id) if given.any(|other| other != id) => return None,
        Some(id) => id,
        None => last(route, path.text)?,
    };
    let id = decode(id)?;
    let mut segments = path.text.split('/').map(decode);
    let ambiguous = id.contains('/')
        || is_dots(&id)
        || segments.any(|segment| segment.is_some_and(|segment| is_dots(&segment)));
    (!ambiguous).then_some(id)
}

/// The segment of `path` where `route` has its parameter, both read from the right.
fn last<'a>(route: &str, path: &'a str) -> Option<&'a str> {
    let mut segments = path.rsplit('/');
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

/// A segment that some read as a step in the tree (RFC 3986, section 3.3).
fn is_dots(segment: &str) -> bool {
    matches!(segment, "." | "..")
}

/// The name of the route's one parameter: `payment_id` of `/payments/{payment_id}/cancel`.
#[must_use]
pub fn parameter(route: &str) -> &str {
    route
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .map_or("", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTE: &str = "/payments/{payment_id}/cancel";

    /// The id that a path without parameters names, encoded or decoded.
    fn id(text: &str, decoded: bool) -> Option<String> {
        let path = Path {
            text,
            parameters: &[],
            decoded,
        };
        payment_id(ROUTE, &path).map(Cow::into_owned)
    }

    /// The id that a path names whose parameters are these.
    fn id_given(text: &str, ids: &[&str], decoded: bool) -> Option<String> {
        let pair = |id: &&str| ("payment_id".to_owned(), (*id).to_owned());
        let parameters: Vec<_> = ids.iter().map(pair).collect();
        let path = Path {
            text,
            parameters: &parameters,
            decoded,
        };
        payment_id(ROUTE, &path).map(Cow::into_owned)
    }

    #[test]
    fn the_route_is_matched_from_the_right() {
        for path in [
            "/payments/pay_1/cancel",
            "/prod/payments/pay_1/cancel",
            "/base/prod/payments/pay_1/cancel",
        ] {
            assert_eq!(id(path, false).as_deref(), Some("pay_1"), "{path}");
            assert_eq!(id(path, true).as_deref(), Some("pay_1"), "{path}");
        }
        assert_eq!(id("/payments//cancel", false).as_deref(), Some(""));
    }

    #[test]
    fn another_path_names_no_payment() {
        for path in [
            "",
            "/",
            "/payments/pay_1",
            "/payments/pay_1/cancel/",
            "/refunds/pay_1/cancel",
            "pay_1/cancel",
        ] {
            assert_eq!(id(path, false), None, "{path}");
            assert_eq!(id(path, true), None, "{path}");
        }
    }

    #[test]
    fn the_id_is_percent_decoded_once_whoever_does_it() {
        for (encoded, decoded) in [
            ("pay%5F1", "pay_1"),
            ("pay%255F1", "pay%5F1"),
            ("%C3%A9", "é"),
        ] {
            let url = |id| format!("/prod/payments/{id}/cancel");
            let named = Some(decoded);
            assert_eq!(id(&url(encoded), false).as_deref(), named);
            assert_eq!(id(&url(decoded), true).as_deref(), named);
            let given = id_given(&url(encoded), &[encoded], false);
            assert_eq!(given.as_deref(), named);
            let given = id_given(&url(decoded), &[decoded], true);
            assert_eq!(given.as_deref(), named);
        }
        assert_eq!(id("/payments/%ff/cancel", false), None);
    }

    #[test]
    fn an_encoded_slash_and_a_dot_segment_name_no_payment() {
        for encoded in ["a%2Fb", "%2e%2e%2f", "%2F", ".", "..", "%2E", "%2e%2E"] {
            let path = format!("/payments/{encoded}/cancel");
            assert_eq!(id(&path, false), None, "{encoded}");
            assert_eq!(id_given(&path, &[encoded], false), None, "{encoded}");
        }
        for decoded in ["a/b", "../", "/", ".", ".."] {
            let path = format!("/payments/{decoded}/cancel");
            assert_eq!(id(&path, true), None, "{decoded}");
            assert_eq!(id_given(&path, &[decoded], true), None, "{decoded}");
        }
        for path in ["/a/../payments/1/cancel", "/%2e/payments/1/cancel"] {
            assert_eq!(id(path, false), None, "{path}");
            assert_eq!(id_given(path, &["1"], false), None, "{path}");
        }
        let dotted = "/a..b/payments/..1./cancel";
        assert_eq!(id(dotted, false).as_deref(), Some("..1."));
    }

    #[test]
    fn two_parameters_of_one_name_are_one_payment_or_none() {
        let path = "/payments/1/cancel";
        assert_eq!(id_given(path, &["1", "1"], true).as_deref(), Some("1"));
        assert_eq!(id_given(path, &["1", "2"], true), None);
    }

    #[test]
    fn the_parameter_has_the_routes_own_name() {
        assert_eq!(parameter(ROUTE), "payment_id");
        assert_eq!(parameter("/payments"), "");
    }
}
