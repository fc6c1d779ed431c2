import { RemovalPolicy } from 'aws-cdk-lib';
import * as dynamodb from 'aws-cdk-lib/aws-dynamodb';
import * as kms from 'aws-cdk-lib/aws-kms';
import { Construct } from 'constructs';

/** What {@link CancelTables} is built from. */
export interface CancelTablesProps {
  /** `RETAIN` also protects the tables from deletion by hand. @default RETAIN */
  readonly removalPolicy?: RemovalPolicy;
}

/** Both tables, for whoever has none yet. */
export class CancelTables extends Construct {
  readonly payments: dynamodb.Table;
  readonly credentials: dynamodb.Table;
  readonly credentialsKey: kms.Key;

  constructor(scope: Construct, id: string, props: CancelTablesProps = {}) {
    super(scope, id);
    const removalPolicy = props.removalPolicy ?? RemovalPolicy.RETAIN;
    const common = {
      partitionKey: { name: 'pk', type: dynamodb.AttributeType.STRING },
      billingMode: dynamodb.BillingMode.PAY_PER_REQUEST,
      pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: true },
      deletionProtection: removalPolicy === RemovalPolicy.RETAIN,
      removalPolicy,
    };
    this.payments = new dynamodb.Table(this, 'Payments', {
      ...common,
      // Of used signatures; no payment has that attribute.
      timeToLiveAttribute: 'signature_expires_at',
      // For whoever must hear of a canceled payment.
      stream: dynamodb.StreamViewType.NEW_AND_OLD_IMAGES,
    });
    // It holds signing secrets in clear: only the five functions may use its key, and only through DynamoDB.
    this.credentialsKey = new kms.Key(this, 'CredentialsKey', {
      description: 'Encrypts the credentials table of the payment-cancel endpoints',
      enableKeyRotation: true,
      removalPolicy,
    });
    this.credentials = new dynamodb.Table(this, 'Credentials', {
      ...common,
      encryption: dynamodb.TableEncryption.CUSTOMER_MANAGED,
      encryptionKey: this.credentialsKey,
    });
  }
}
