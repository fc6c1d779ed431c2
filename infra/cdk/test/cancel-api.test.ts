import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import { App, Duration, RemovalPolicy, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import * as dynamodb from 'aws-cdk-lib/aws-dynamodb';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as sns from 'aws-cdk-lib/aws-sns';

import { CancelAlarms, CancelAlarmsProps, CancelApi, CancelApiProps, CancelTables, PaymentCanceledEvents, ROUTES } from '../lib';

const binary = mkdtempSync(join(tmpdir(), 'bootstrap-'));
writeFileSync(join(binary, 'bootstrap'), '');
const code = () => lambda.Code.fromAsset(binary);

/** A stack with new tables, and whatever else a test wants. */
function withNewTables(props: Partial<CancelApiProps> = {}, removalPolicy?: RemovalPolicy): Template {
  const stack = new Stack(new App(), 'Test');
  const tables = new CancelTables(stack, 'Tables', { removalPolicy });
  new CancelApi(stack, 'CancelApi', { name: 'test', code, ...pick(tables), ...props });
  return Template.fromStack(stack);
}

function pick({ payments, credentials, credentialsKey }: CancelTables) {
  return { payments, credentials, credentialsKey };
}

const statements = (template: Template): { Sid: string; Action: string | string[] }[][] =>
  Object.values(template.findResources('AWS::IAM::Role')).map(
    (role) => role['Properties'].Policies[0].PolicyDocument.Statement,
  );

test('there are five routes, each to its own function', () => {
  const template = withNewTables();
  template.resourceCountIs('AWS::ApiGatewayV2::Route', 5);
  template.resourceCountIs('AWS::Lambda::Function', 5);
  for (const [provider, path] of Object.entries(ROUTES)) {
    template.hasResourceProperties('AWS::ApiGatewayV2::Route', { RouteKey: `POST ${path}` });
    template.hasResourceProperties('AWS::Lambda::Function', {
      FunctionName: `test-${provider}`,
      Runtime: 'provided.al2023',
      Architectures: ['arm64'],
      MemorySize: 128,
      Timeout: 10,
    });
  }
  template.allResourcesProperties('AWS::ApiGatewayV2::Integration', { PayloadFormatVersion: '2.0' });
});

test('the stage is throttled and logs who called, without headers', () => {
  const template = withNewTables();
  template.hasResourceProperties('AWS::ApiGatewayV2::Stage', {
    StageName: '$default',
    DefaultRouteSettings: { ThrottlingRateLimit: 100, ThrottlingBurstLimit: 200 },
    AccessLogSettings: { Format: Match.not(Match.stringLikeRegexp('header|query|authorizer')) },
  });
  template.resourcePropertiesCountIs('AWS::Logs::LogGroup', { RetentionInDays: 30 }, 6);
});

test('a function may cancel payments, find its own credentials and write its own log', () => {
  const all = statements(withNewTables());
  assert.equal(all.length, 5);
  for (const policy of all) {
    assert.deepEqual(
      policy.flatMap(({ Action }) => Action).sort(),
      ['dynamodb:GetItem', 'dynamodb:UpdateItem', 'kms:Decrypt', 'logs:CreateLogStream', 'logs:PutLogEvents'],
    );
    assert.ok(!JSON.stringify(policy.map((one) => ({ ...one, Condition: undefined }))).includes('"*"'));
  }
  for (const provider of Object.keys(ROUTES)) {
    assert.equal(all.filter((policy) => JSON.stringify(policy).includes(`"${provider}#*"`)).length, 1);
  }
});

test('no role has a managed policy, and nothing is granted beside the inline one', () => {
  const template = withNewTables();
  template.resourceCountIs('AWS::IAM::Policy', 0);
  template.allResourcesProperties('AWS::IAM::Role', { ManagedPolicyArns: Match.absent() });
});

test('new tables are on demand, recoverable, protected and kept', () => {
  const template = withNewTables();
  template.resourceCountIs('AWS::DynamoDB::Table', 2);
  template.allResources('AWS::DynamoDB::Table', {
    DeletionPolicy: 'Retain',
    UpdateReplacePolicy: 'Retain',
    Properties: {
      BillingMode: 'PAY_PER_REQUEST',
      DeletionProtectionEnabled: true,
      KeySchema: [{ AttributeName: 'pk', KeyType: 'HASH' }],
      PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true },
    },
  });
  template.hasResourceProperties('AWS::DynamoDB::Table', { StreamSpecification: { StreamViewType: 'NEW_AND_OLD_IMAGES' } });
  template.hasResourceProperties('AWS::DynamoDB::Table', { SSESpecification: { SSEEnabled: true, SSEType: 'KMS' } });
  template.hasResource('AWS::KMS::Key', { DeletionPolicy: 'Retain', Properties: { EnableKeyRotation: true } });
});

test('tables that are told to go, go', () => {
  withNewTables({}, RemovalPolicy.DESTROY).allResources('AWS::DynamoDB::Table', {
    DeletionPolicy: 'Delete',
    Properties: { DeletionProtectionEnabled: false },
  });
});

test("another app's own tables are used, and none is made", () => {
  const stack = new Stack(new App(), 'Test');
  new CancelApi(stack, 'CancelApi', {
    name: 'test',
    code,
    payments: dynamodb.Table.fromTableName(stack, 'Payments', 'their-payments'),
    credentials: dynamodb.Table.fromTableName(stack, 'Credentials', 'their-credentials'),
  });
  const template = Template.fromStack(stack);
  template.resourceCountIs('AWS::DynamoDB::Table', 0);
  template.resourceCountIs('AWS::KMS::Key', 0);
  template.allResourcesProperties('AWS::Lambda::Function', {
    Environment: { Variables: { PAYMENTS_TABLE: 'their-payments', CREDENTIALS_TABLE: 'their-credentials' } },
  });
  for (const policy of statements(template)) {
    assert.deepEqual(policy.map(({ Sid }) => Sid), ['CancelPayment', 'FindOwnCredentials', 'WriteOwnLog']);
  }
});

test('memory, architecture, log level, throttling and time to live are the app’s to choose', () => {
  const template = withNewTables({
    architecture: lambda.Architecture.X86_64,
    memorySize: 256,
    credentialTtl: Duration.minutes(5),
    issuedKeysOnly: true,
    signatureSingleUse: true,
    logLevel: lambda.ApplicationLogLevel.WARN,
    throttle: { rateLimit: 5, burstLimit: 7 },
  });
  template.allResourcesProperties('AWS::Lambda::Function', {
    Architectures: ['x86_64'],
    MemorySize: 256,
    LoggingConfig: { ApplicationLogLevel: 'WARN' },
    Environment: { Variables: { CREDENTIAL_TTL_SECONDS: '300', ISSUED_KEYS_ONLY: 'true', SIGNATURE_SINGLE_USE: 'true' } },
  });
  template.hasResourceProperties('AWS::ApiGatewayV2::Stage', {
    DefaultRouteSettings: { ThrottlingRateLimit: 5, ThrottlingBurstLimit: 7 },
  });
});

/** A stack with alarms, and with whatever else a test wants of them. */
function withAlarms(props: (stack: Stack) => Partial<CancelAlarmsProps> = () => ({})): Template {
  const stack = new Stack(new App(), 'Test');
  const tables = new CancelTables(stack, 'Tables');
  const { api, functions } = new CancelApi(stack, 'CancelApi', { name: 'test', code, ...pick(tables) });
  new CancelAlarms(stack, 'Alarms', { name: 'test', api, functions, payments: tables.payments, ...props(stack) });
  return Template.fromStack(stack);
}

test('alarms take silence for health, lead to the runbook, and tell nobody unless told', () => {
  const template = withAlarms();
  template.resourceCountIs('AWS::CloudWatch::Alarm', 21);
  template.allResourcesProperties('AWS::CloudWatch::Alarm', {
    TreatMissingData: 'notBreaching',
    AlarmDescription: Match.stringLikeRegexp(': infra/RUNBOOK.md#[a-z-]+$'),
    AlarmActions: Match.absent(),
    OKActions: Match.absent(),
  });
  template.resourceCountIs('AWS::CloudWatch::Dashboard', 1);
});

test('alarms tell a topic when they begin and when they end', () => {
  const arn = 'arn:aws:sns:us-east-1:123456789012:night';
  const template = withAlarms((stack) => ({ topic: sns.Topic.fromTopicArn(stack, 'Topic', arn) }));
  template.allResourcesProperties('AWS::CloudWatch::Alarm', { AlarmActions: [arn], OKActions: [arn] });
});

test('thresholds and the runbook’s place are the app’s to choose', () => {
  const template = withAlarms(() => ({
    runbookUrl: 'https://example.com/r',
    thresholds: { undecided: 2, serverErrorRate: 0.5, throttled: 3, slow: Duration.seconds(2), unauthenticated: 7, signature: 8 },
  }));
  const chosen = { undecided: 2, throttled: 3, slow: 2000, unauthenticated: 7, signatures: 8 };
  for (const [kind, threshold] of Object.entries(chosen)) {
    const provider = kind === 'signatures' ? 'one2pays' : 'vtex';
    template.hasResourceProperties('AWS::CloudWatch::Alarm', { AlarmName: `test-${provider}-${kind}`, Threshold: threshold });
  }
  template.hasResourceProperties('AWS::CloudWatch::Alarm', { AlarmName: 'test-server-errors', Threshold: 0.5 });
  template.allResourcesProperties('AWS::CloudWatch::Alarm', { AlarmDescription: Match.stringLikeRegexp(': https://example.com/r#') });
});

test('events have a bus, a pipe with a queue for what is undelivered, and alarms for both', () => {
  const stack = new Stack(new App(), 'Test');
  new PaymentCanceledEvents(stack, 'Events', { name: 'test', payments: new CancelTables(stack, 'Tables').payments });
  const template = Template.fromStack(stack);
  template.hasResourceProperties('AWS::Events::EventBus', { Name: 'test-payments' });
  template.hasResourceProperties('AWS::SQS::Queue', { SqsManagedSseEnabled: true, MessageRetentionPeriod: 1209600 });
  template.hasResourceProperties('AWS::Pipes::Pipe', {
    SourceParameters: { DynamoDBStreamParameters: { DeadLetterConfig: Match.anyValue(), MaximumRetryAttempts: 10 } },
    TargetParameters: { EventBridgeEventBusParameters: { Source: 'payment-cancel', DetailType: 'payment.canceled' } },
  });
  template.hasResourceProperties('AWS::StepFunctions::StateMachine', { StateMachineType: 'EXPRESS', LoggingConfiguration: Match.absent() });
  template.resourceCountIs('AWS::CloudWatch::Alarm', 2);
});

test('events of a table without a stream are refused', () => {
  const stack = new Stack(new App(), 'Test');
  const payments = dynamodb.Table.fromTableName(stack, 'Payments', 'their-payments');
  assert.throws(() => new PaymentCanceledEvents(stack, 'Events', { name: 'test', payments }), /tableStreamArn/);
});
