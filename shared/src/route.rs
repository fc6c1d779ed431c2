//! Which payment the path names.
//!
//! API Gateway says it in `pathParameters`. A load balancer and a Function URL do not, and a stage or a base path may
//! stand in front, so the route is then matched from the right.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The payment id in `path`, which ends like `route` (`/payments/{payment_id}/cancel`), or `None` where it does not.
#[must_use]
pub fn payment_id<'a>(route: &str, path: &'a str) -> Option<Cow<'a, str>> {
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
    // Bytes that are no UTF-8 name no payment.
    percent_decode_str(found?).decode_utf8().ok()
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

    #[test]
    fn the_route_is_matched_from_the_right() {
        assert_eq!(
            payment_id(ROUTE, "/payments/pay_1/cancel").as_deref(),
            Some("pay_1")
        );
        assert_eq!(
            payment_id(ROUTE, "/prod/payments/pay_1/cancel").as_deref(),
            Some("pay_1")
        );
        assert_eq!(
            payment_id(ROUTE, "/base/prod/payments/pay_1/cancel").as_deref(),
            Some("pay_1")
        );
        assert_eq!(payment_id(ROUTE, "/payments//cancel").as_deref(), Some(""));
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
            assert_eq!(payment_id(ROUTE, path), None, "{path}");
        }
    }

    #[test]
    fn the_id_is_percent_decoded_once() {
        assert_eq!(
            payment_id(ROUTE, "/payments/pay%5F1/cancel").as_deref(),
            Some("pay_1")
        );
        assert_eq!(
            payment_id(ROUTE, "/payments/pay%255F1/cancel").as_deref(),
            Some("pay%5F1")
        );
        assert_eq!(
            payment_id(ROUTE, "/payments/%2e%2e%2f/cancel").as_deref(),
            Some("../")
        );
        assert_eq!(payment_id(ROUTE, "/payments/%ff/cancel"), None);
    }

    #[test]
    fn the_parameter_has_the_routes_own_name() {
        assert_eq!(parameter(ROUTE), "payment_id");
        assert_eq!(parameter("/payments"), "");
    }
}
