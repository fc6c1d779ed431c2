#!/usr/bin/env node
import { join } from 'node:path';

import { App, CfnOutput, Duration, RemovalPolicy, Stack } from 'aws-cdk-lib';
import * as dynamodb from 'aws-cdk-lib/aws-dynamodb';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as sns from 'aws-cdk-lib/aws-sns';

import { CancelAlarms, CancelApi, CancelTables, PaymentCanceledEvents } from '../lib';

// The stack that `cdk deploy` makes. Options are context values: `cdk deploy -c architecture=x86_64`.
const app = new App();
const option = (name: string): string | undefined => app.node.tryGetContext(name);

const stack = new Stack(app, option('stack') ?? 'cancel-cdk', {
  description: 'Five payment-cancel endpoints, a function each, behind one HTTP API and over two DynamoDB tables.',
});

/** Off unless it is `true`. */
function flag(name: string): boolean {
  const value = option(name) ?? 'false';
  if (value !== 'true' && value !== 'false') {
    throw new Error(`${name} is "${value}" and must be "true" or "false"`);
  }
  return value === 'true';
}

/** A number, or the default where there is none. */
function number(name: string): number | undefined {
  const value = option(name);
  if (value !== undefined && !(Number(value) > 0)) {
    throw new Error(`${name} is "${value}" and must be a number above 0`);
  }
  return value === undefined ? undefined : Number(value);
}

/** Existing tables where they are named, otherwise new ones. */
function tables() {
  const payments = option('paymentsTable');
  const credentials = option('credentialsTable');
  if (payments === undefined && credentials === undefined) {
    const removal = option('tableRemoval') ?? 'retain';
    const removalPolicy = { retain: RemovalPolicy.RETAIN, delete: RemovalPolicy.DESTROY }[removal];
    if (removalPolicy === undefined) {
      throw new Error(`tableRemoval is "${removal}" and must be "retain" or "delete"`);
    }
    return new CancelTables(stack, 'Tables', { removalPolicy });
  }
  if (payments === undefined || credentials === undefined) {
    throw new Error('paymentsTable and credentialsTable must be given together');
  }
  const label = option('paymentsStreamLabel') || undefined;
  if (flag('eventsOut') && label === undefined) {
    throw new Error('eventsOut with an existing payments table needs the label of its stream as paymentsStreamLabel');
  }
  const payment = stack.formatArn({ service: 'dynamodb', resource: 'table', resourceName: payments });
  const key = option('credentialsKey');
  const keyArn = stack.formatArn({ service: 'kms', resource: 'key', resourceName: key ?? '' });
  return {
    payments: dynamodb.Table.fromTableAttributes(stack, 'Payments', {
      tableArn: payment,
      tableStreamArn: label === undefined ? undefined : `${payment}/stream/${label}`,
    }),
    credentials: dynamodb.Table.fromTableName(stack, 'Credentials', credentials),
    credentialsKey: key === undefined ? undefined : kms.Key.fromKeyArn(stack, 'CredentialsKey', keyArn),
  };
}

const architecture = { arm64: lambda.Architecture.ARM_64, x86_64: lambda.Architecture.X86_64 }[
  option('architecture') ?? 'arm64'
];
if (architecture === undefined) {
  throw new Error('architecture must be "arm64" or "x86_64"');
}

const { payments, credentials, credentialsKey } = tables();
const { api, functions } = new CancelApi(stack, 'CancelApi', {
  name: stack.stackName,
  payments,
  credentials,
  credentialsKey,
  // Where `cargo lambda build --release` leaves them.
  code: (provider) =>
    lambda.Code.fromAsset(join(option('binaries') ?? join(__dirname, '../../../../target/lambda'), provider)),
  architecture,
  memorySize: Number(option('memorySize') ?? 128),
  credentialTtl: Duration.seconds(Number(option('credentialTtlSeconds') ?? 60)),
  issuedKeysOnly: flag('issuedKeysOnly'),
  signatureSingleUse: flag('signatureSingleUse'),
});

const topicArn = option('alarmTopicArn');
const alarms = {
  name: stack.stackName,
  payments,
  topic: topicArn === undefined ? undefined : sns.Topic.fromTopicArn(stack, 'AlarmTopic', topicArn),
  runbookUrl: option('runbookUrl'),
};
const slow = number('slowMilliseconds');
new CancelAlarms(stack, 'Alarms', {
  ...alarms,
  api,
  functions,
  thresholds: {
    undecided: number('undecidedThreshold'),
    serverErrorRate: number('serverErrorRate'),
    throttled: number('throttledThreshold'),
    slow: slow === undefined ? undefined : Duration.millis(slow),
    unauthenticated: number('unauthenticatedThreshold'),
    signature: number('signatureThreshold'),
  },
});
if (flag('eventsOut')) {
  const { bus } = new PaymentCanceledEvents(stack, 'Events', alarms);
  new CfnOutput(stack, 'BusName', { value: bus.eventBusName, description: 'Where payment.canceled is told.' });
}

new CfnOutput(stack, 'ApiUrl', { value: api.apiEndpoint, description: 'Where the five endpoints are.' });
new CfnOutput(stack, 'PaymentsTableName', { value: payments.tableName });
new CfnOutput(stack, 'CredentialsTableName', { value: credentials.tableName });
