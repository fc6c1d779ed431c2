//! The two tables.

use aws_sdk_dynamodb::types::{
    BillingMode, KeyType, MultiRegionConsistency, PointInTimeRecoveryStatus, ReplicaDescription,
    ReplicaStatus, ScalarAttributeType, SseType, StreamViewType, TableDescription, TableStatus,
    TimeToLiveStatus,
};

use super::Findings;
use crate::aws::Account;

/// Used signatures end by themselves at this attribute's time.
const EXPIRY: &str = "signature_expires_at";

pub(super) async fn payments(
    account: &Account,
    findings: &mut Findings,
) -> Option<TableDescription> {
    let name = &account.payments;
    let subject = format!("table {name}");
    let table = describe(account, name, &subject, findings).await?;
    let region = account.config.region().map_or("", |region| region.as_ref());
    let is_replicated = replicas(&table, region).next().is_some();
    let is_strong = table.multi_region_consistency == Some(MultiRegionConsistency::Strong);
    if is_replicated && is_strong {
        findings.ok(&subject, "is strongly consistent across Regions");
    } else if is_replicated {
        findings.fault(
            &subject,
            "is replicated with eventual consistency: a cancel and a capture in two Regions may \
             both succeed",
            "send all writers to one Region, or use multi-Region strong consistency",
        );
    }
    let stream = table.stream_specification.as_ref();
    let view = stream.and_then(|stream| stream.stream_view_type.as_ref());
    match view {
        Some(StreamViewType::NewAndOldImages) => {
            findings.ok(&subject, "has a stream of new and old images");
        }
        Some(_) | None => findings.warning(
            &subject,
            "has no stream of new and old images, so a cancel publishes no event",
            "enable the stream with NEW_AND_OLD_IMAGES if you want events",
        ),
    }
    let ttl = account.dynamodb.describe_time_to_live().table_name(name).send().await;
    let ttl = findings.looked(&subject, "dynamodb:DescribeTimeToLive", ttl);
    if let Some(ttl) = ttl.and_then(|ttl| ttl.time_to_live_description) {
        let on = matches!(
            ttl.time_to_live_status,
            Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)
        );
        match ttl.attribute_name {
            Some(attribute) if on && attribute == EXPIRY => {
                findings.ok(&subject, "deletes used signatures by themselves");
            }
            Some(attribute) if on => findings.warning(
                &subject,
                format!("deletes items by {attribute}, which may be payments"),
                format!("set its time to live to {EXPIRY}"),
            ),
            // A strongly consistent global table has no time to live.
            Some(_) | None if is_strong => {}
            Some(_) | None => findings.warning(
                &subject,
                "keeps used signatures forever",
                format!("enable its time to live by {EXPIRY}"),
            ),
        }
    }
    Some(table)
}

/// The KMS key that encrypts a table, if it is not DynamoDB's own.
pub(super) fn key_of(table: &TableDescription) -> Option<String> {
    let sse = table.sse_description.as_ref()?;
    let kms = sse.sse_type == Some(SseType::Kms);
    sse.kms_master_key_arn.clone().filter(|_| kms)
}

/// The table's copies in other Regions.
fn replicas<'t>(
    table: &'t TableDescription,
    region: &'t str,
) -> impl Iterator<Item = &'t ReplicaDescription> {
    let replicas = table.replicas.as_deref().unwrap_or_default().iter();
    replicas.filter(move |replica| replica.region_name.as_deref() != Some(region))
}

pub(super) async fn credentials(
    account: &Account,
    findings: &mut Findings,
) -> Option<TableDescription> {
    let name = &account.credentials;
    let subject = format!("table {name}");
    let table = describe(account, name, &subject, findings).await?;
    if key_of(&table).is_none() {
        findings.warning(
            &subject,
            "is not encrypted with a key of yours, and holds signing secrets",
            "encrypt it with a customer-managed KMS key that only the functions may use",
        );
    }
    // What the tool's own reads show: the table can be read, its key included.
    let probe = account.dynamodb.get_item().table_name(name);
    let probe = probe.key("pk", aws_sdk_dynamodb::types::AttributeValue::S("doctor#".to_owned()));
    if findings.looked(&subject, "dynamodb:GetItem", probe.send().await).is_some() {
        findings.ok(&subject, "can be read with your rights");
    }
    Some(table)
}

/// What holds for both.
async fn describe(
    account: &Account,
    name: &str,
    subject: &str,
    findings: &mut Findings,
) -> Option<TableDescription> {
    let described = account.dynamodb.describe_table().table_name(name).send().await;
    if let Err(failure) = &described
        && let Some(error) = failure.as_service_error()
        && error.is_resource_not_found_exception()
    {
        findings.fault(
            subject,
            "does not exist in this account and Region",
            "check --stack, the table flags and --region; deploy the stack, or create the table \
             with the partition key pk (string)",
        );
        return None;
    }
    let described = findings.looked(subject, "dynamodb:DescribeTable", described)?;
    let table = described.table?;
    let region = account.config.region().map_or("", |region| region.as_ref());
    check(&table, region, subject, findings);

    let backups = account.dynamodb.describe_continuous_backups().table_name(name).send().await;
    let backups = findings.looked(subject, "dynamodb:DescribeContinuousBackups", backups);
    if let Some(backups) = backups.and_then(|found| found.continuous_backups_description) {
        let recovery = backups.point_in_time_recovery_description;
        let status = recovery.and_then(|recovery| recovery.point_in_time_recovery_status);
        if status == Some(PointInTimeRecoveryStatus::Enabled) {
            findings.ok(subject, "can be restored to any moment of the last days");
        } else {
            findings.warning(
                subject,
                "cannot be restored to a point in time",
                "enable point-in-time recovery",
            );
        }
    }
    Some(table)
}

/// A table's description alone.
fn check(table: &TableDescription, region: &str, subject: &str, findings: &mut Findings) {
    match &table.table_status {
        Some(TableStatus::Active | TableStatus::Updating) | None => {}
        Some(status) => findings.fault(
            subject,
            format!("is {}", status.as_str().to_lowercase()),
            "wait until it is active, or restore it",
        ),
    }
    let keys = table.key_schema.as_deref().unwrap_or_default();
    let pk = matches!(keys, [key] if key.attribute_name == "pk" && key.key_type == KeyType::Hash);
    let attributes = table.attribute_definitions.as_deref().unwrap_or_default();
    let is_text = attributes.iter().any(|attribute| {
        attribute.attribute_name == "pk" && attribute.attribute_type == ScalarAttributeType::S
    });
    if pk && is_text {
        findings.ok(subject, "has the partition key pk (string) and no sort key");
    } else {
        findings.fault(
            subject,
            "has another key than pk (string) without a sort key",
            "move its items to a table with that key; a key cannot be changed",
        );
    }
    let billing = table.billing_mode_summary.as_ref();
    let billing = billing.and_then(|billing| billing.billing_mode.as_ref());
    if billing != Some(&BillingMode::PayPerRequest) {
        findings.warning(
            subject,
            "has provisioned capacity, which throttles above it",
            "use on-demand capacity, or watch its throttles",
        );
    }
    if table.deletion_protection_enabled == Some(true) {
        findings.ok(subject, "is protected from deletion");
    } else {
        findings.warning(subject, "can be deleted by a single call", "enable deletion protection");
    }
    for replica in replicas(table, region) {
        let elsewhere = replica.region_name.as_deref().unwrap_or("unknown");
        match &replica.replica_status {
            Some(ReplicaStatus::Active | ReplicaStatus::Updating) | None => {}
            Some(status) => findings.warning(
                subject,
                format!("its replica in {elsewhere} is {}", status.as_str().to_lowercase()),
                "look at the replica in that Region",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::{AttributeDefinition, BillingModeSummary, KeySchemaElement};

    use super::{super::Level, *};

    fn good() -> aws_sdk_dynamodb::types::builders::TableDescriptionBuilder {
        let key = KeySchemaElement::builder().attribute_name("pk").key_type(KeyType::Hash);
        let attribute = AttributeDefinition::builder()
            .attribute_name("pk")
            .attribute_type(ScalarAttributeType::S);
        let billing = BillingModeSummary::builder().billing_mode(BillingMode::PayPerRequest);
        TableDescription::builder()
            .table_status(TableStatus::Active)
            .key_schema(key.build().unwrap())
            .attribute_definitions(attribute.build().unwrap())
            .billing_mode_summary(billing.build())
            .deletion_protection_enabled(true)
    }

    fn faults(table: TableDescription) -> Vec<String> {
        let mut findings = Findings::default();
        check(&table, "us-east-1", "t", &mut findings);
        let bad = findings.0.into_iter().filter(|finding| finding.level != Level::Ok);
        bad.map(|finding| format!("{:?} {}", finding.level, finding.finding)).collect()
    }

    #[test]
    fn a_table_as_the_template_makes_it_has_no_fault() {
        assert_eq!(faults(good().build()), [""; 0]);
    }

    #[test]
    fn a_replica_counts_where_it_is_in_another_region() {
        let replica = |region: &str, status| {
            let replica = ReplicaDescription::builder().region_name(region);
            replica.replica_status(status).build()
        };
        let lost = ReplicaStatus::InaccessibleEncryptionCredentials;
        let table = good()
            .replicas(replica("us-east-1", ReplicaStatus::Active))
            .replicas(replica("eu-west-1", lost))
            .build();
        assert_eq!(replicas(&table, "us-east-1").count(), 1);
        let found = faults(table);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("Warning its replica in eu-west-1"), "{found:?}");
    }

    #[test]
    fn another_key_and_a_lost_table_are_faults() {
        let sort = KeySchemaElement::builder().attribute_name("sk").key_type(KeyType::Range);
        let found = faults(
            good()
                .key_schema(sort.build().unwrap())
                .table_status(TableStatus::InaccessibleEncryptionCredentials)
                .deletion_protection_enabled(false)
                .build(),
        );
        assert_eq!(found.len(), 3, "{found:?}");
    }
}
