//! The SDK's own HTTP client over real sockets: what it makes of a network that breaks. Its limits are minutes here, so
//! that nothing depends on how fast the machine is.

use std::time::Duration;

use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use harness::{
    faults::{Cut, Fault, FaultProxy, Instead},
    tables::Tables,
};
use shared::{
    cancel::Transition,
    store::{Payments, Verdict, dynamodb::DynamoDb},
};
use tokio::time::Instant;

use super::outage::{pending, transition};

const PATIENT: Duration = Duration::from_secs(600);

#[tokio::test]
async fn what_a_real_network_breaks_is_tried_again_and_is_no_conflict() {
    let tables = Tables::new().unwrap();
    let proxy = FaultProxy::listening(&tables).await.unwrap();
    let patient = TimeoutConfig::builder()
        .connect_timeout(PATIENT)
        .read_timeout(PATIENT)
        .operation_attempt_timeout(PATIENT)
        .operation_timeout(PATIENT);
    let config = proxy
        .config()
        .into_builder()
        .timeout_config(patient.build());
    let config = config.build();
    let mut faults = Vec::new();
    for how in [Cut::Reset, Cut::Close] {
        faults.extend([0, 1, 200, usize::MAX].map(|after| Fault::Request { after, how }));
        faults.extend([0, 1, 40, usize::MAX].map(|after| Fault::Answer { after, how }));
    }
    let answers = [
        Instead::InternalServerError,
        Instead::BadGateway,
        Instead::ServiceUnavailable,
        Instead::Throttled,
    ];
    for answer in answers {
        faults.extend([true, false].map(|committed| Fault::Instead { answer, committed }));
    }
    for fault in faults {
        tables.put("payments", &pending()).unwrap();
        proxy.script([fault]);
        // A client of its own, for a retry budget of its own.
        let wanted = Transition {
            until: Instant::now() + PATIENT,
            ..transition()
        };
        let outcome = DynamoDb::new(&config).transition(&wanted).await;
        let canceled = match &outcome {
            Ok(Verdict::Made(payment) | Verdict::Refused(Some(payment))) => {
                payment.cancellation == Some(wanted.cancellation)
            }
            Ok(Verdict::Refused(None)) | Err(_) => false,
        };
        assert!(canceled, "{fault:?}: {outcome:?}");
        assert_eq!((proxy.attempts(), proxy.transitions()), (2, 1), "{fault:?}");
    }
}
