import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import { App, Aspects, DefaultStackSynthesizer, Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import * as dynamodb from 'aws-cdk-lib/aws-dynamodb';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as sns from 'aws-cdk-lib/aws-sns';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { CfnInclude } from 'aws-cdk-lib/cloudformation-include';
import { AwsSolutionsChecks } from 'cdk-nag';

import { CancelApi, CancelApiProps } from '../lib';

const binary = mkdtempSync(join(tmpdir(), 'bootstrap-'));
writeFileSync(join(binary, 'bootstrap'), '');
const code = () => lambda.Code.fromAsset(binary);
const pk = { name: 'pk', type: dynamodb.AttributeType.STRING };

/** Another app's stack, with the construct in it. */
function inAnotherApp(props: (stack: Stack) => Partial<CancelApiProps> = () => ({})) {
  const synthesizer = new DefaultStackSynthesizer({ generateBootstrapVersionRule: false });
  const stack = new Stack(new App(), 'Theirs', { synthesizer, env: { region: 'us-east-1' } });
  return { stack, made: new CancelApi(stack, 'Cancel', { code, ...props(stack) }) };
}

test('what an app grants to a function, its role gets', () => {
  const { stack, made } = inAnotherApp();
  new sqs.Queue(stack, 'Queue').grantSendMessages(made.providers['vtex']!.function);
  Template.fromStack(stack).hasResourceProperties('AWS::IAM::Policy', {
    PolicyDocument: {
      Statement: [Match.objectLike({ Action: Match.arrayWith(['sqs:SendMessage']) })],
    },
    Roles: [{ Ref: 'CancelvtexRole' }],
  });
});

test('without a grant a role has the inline policy and nothing else', () => {
  const template = Template.fromStack(inAnotherApp().stack);
  template.resourceCountIs('AWS::IAM::Policy', 0);
  const roles = Object.entries(template.findResources('AWS::IAM::Role')).filter(
    ([name]) => name !== 'CancelDeployRole',
  );
  assert.equal(roles.length, 5);
  for (const [name, role] of roles) {
    assert.equal(role['Properties'].Policies.length, 1, name);
    assert.equal(role['Properties'].ManagedPolicyArns, undefined, name);
  }
});

test('a TableV2 with its own key is used, and roles may decrypt with that key', () => {
  const { stack, made } = inAnotherApp((scope) => ({
    payments: new dynamodb.TableV2(scope, 'Payments', {
      partitionKey: pk,
      encryption: dynamodb.TableEncryptionV2.customerManagedKey(new kms.Key(scope, 'Key')),
      dynamoStream: dynamodb.StreamViewType.NEW_AND_OLD_IMAGES,
    }),
    credentials: new dynamodb.Table(scope, 'Credentials', { partitionKey: pk }),
    eventsOut: true,
  }));
  const template = Template.fromStack(stack);
  template.resourceCountIs('AWS::DynamoDB::GlobalTable', 1);
  const key = { 'Fn::GetAtt': [Match.stringLikeRegexp('^Key'), 'Arn'] };
  const decrypt = Match.objectLike({
    Sid: 'DecryptPayments',
    Action: 'kms:Decrypt',
    Resource: key,
  });
  const roles = template.findResources('AWS::IAM::Role', {
    Properties: { Policies: [{ PolicyDocument: { Statement: Match.arrayWith([decrypt]) } }] },
  });
  assert.equal(Object.keys(roles).length, 6, 'the functions’ and the pipe’s');
  assert.ok(made.bus);
});

test('an option that the table tells as well is refused; a key that it does not tell is used', () => {
  const key = 'arn:aws:kms:us-east-1:123456789012:key/6a7e8feb-b491-4cf7-a9f1-bf3703467718';
  const imported = (scope: Stack) => dynamodb.Table.fromTableName(scope, 'Payments', 'payments');
  const twice = (scope: Stack) => ({ payments: imported(scope), paymentsTableName: 'payments' });
  assert.throws(() => inAnotherApp(twice), /"paymentsTableName" is given, and by the table/);
  const beside = (scope: Stack) => ({ payments: imported(scope), paymentsKey: key });
  const roles = Template.fromStack(inAnotherApp(beside).stack).findResources('AWS::IAM::Role');
  assert.match(JSON.stringify(roles['CancelvtexRole']), new RegExp(key));
});

test('CodeDeploy’s application and groups have SAM’s names', () => {
  const template = Template.fromStack(inAnotherApp().stack);
  const names = (type: string) => Object.keys(template.findResources(type));
  assert.deepEqual(names('AWS::CodeDeploy::Application'), [
    'CancelServerlessDeploymentApplication',
  ]);
  const groups = names('AWS::CodeDeploy::DeploymentGroup');
  assert.ok(groups.includes('CancelvtexFunctionDeploymentGroup'), groups.join());
});

test('alarms can be part of an app’s own', () => {
  const { stack, made } = inAnotherApp();
  new cloudwatch.CompositeAlarm(stack, 'Ours', {
    alarmRule: cloudwatch.AlarmRule.fromAlarm(
      made.alarms['vtexUndecided']!,
      cloudwatch.AlarmState.ALARM,
    ),
  });
  Template.fromStack(stack).hasResourceProperties('AWS::CloudWatch::CompositeAlarm', {
    AlarmRule: {
      'Fn::Join': ['', Match.arrayWith([{ 'Fn::GetAtt': ['CancelvtexUndecided', 'Arn'] }])],
    },
  });
});

test('an app’s own topic is notified', () => {
  const { stack } = inAnotherApp((scope) => ({ alarmTopic: new sns.Topic(scope, 'Night') }));
  const topic = { Ref: Match.stringLikeRegexp('^Night') };
  Template.fromStack(stack).hasResourceProperties('AWS::CloudWatch::Alarm', {
    AlarmActions: [topic],
    OKActions: [topic],
  });
});

test('two constructs fit into one stack, with a name each', () => {
  const stack = new Stack(new App(), 'Theirs');
  for (const name of ['one', 'two']) {
    new CancelApi(stack, name, { code, name, providers: ['vtex'] });
  }
  const template = Template.fromStack(stack);
  template.resourceCountIs('AWS::Lambda::Function', 2);
  for (const name of ['one', 'two']) {
    template.hasResourceProperties('AWS::Lambda::Function', { FunctionName: `${name}-vtex` });
  }
});

test('a subset of providers has functions, routes and alarms for these alone', () => {
  const { stack, made } = inAnotherApp(() => ({ providers: ['vtex', 'one2pays'] }));
  assert.deepEqual(Object.keys(made.providers), ['vtex', 'one2pays']);
  assert.ok(Object.keys(made.alarms).every((name) => /^(vtex|one2pays)/.test(name)));
  Template.fromStack(stack).resourceCountIs('AWS::ApiGatewayV2::Route', 2);
});

// Rules of AWS Solutions that are not followed, each with its reason.
const ACKNOWLEDGED = {
  'AwsSolutions-APIG2':
    'A body is read once, by the function, which responds in the provider’s envelope.',
  'AwsSolutions-APIG3': 'A web ACL is an option of REST APIs: webAclArn.',
  'AwsSolutions-APIG4': 'Each provider authenticates in its own way, in the function.',
  'AwsSolutions-APIG6':
    'Execution logs would hold headers and bodies, with credentials. Access logs are on.',
  'AwsSolutions-COG4': 'As APIG4.',
  'AwsSolutions-IAM4': 'CodeDeploy’s role has the policy that AWS maintains for it.',
  'AwsSolutions-IAM5': 'Streams of the own log group; with traces, actions that have no resource.',
  'AwsSolutions-L1': 'provided.al2023 is the runtime of a binary; the canary’s Python is pinned.',
  'AwsSolutions-SNS3': 'CloudWatch publishes over TLS.',
  'AwsSolutions-SQS3': 'It is the dead-letter queue.',
  'AwsSolutions-SQS4': 'Only the pipe may send, and it does so over TLS.',
  'AwsSolutions-SF1': 'It is never given a log: stream records have more in them than the events.',
  'AwsSolutions-SF2': 'It has one step and calls no service.',
};

test('cdk-nag finds nothing that is not acknowledged with a reason', () => {
  const used = new Set<string>();
  for (const frontEnd of ['http', 'rest'] as const) {
    const { stack } = inAnotherApp(() => ({
      frontEnd,
      eventsOut: true,
      paymentsKey: 'new',
      tracing: 'Active',
      alarmEmail: 'night@example.com',
      canarySecretArn: 'arn:aws:secretsmanager:us-east-1:123456789012:secret:canary-abcdef',
    }));
    // It knows the CDK's typed resources only, which the synthesized template is read back into.
    const file = join(binary, `${frontEnd}.json`);
    writeFileSync(file, JSON.stringify(Template.fromStack(stack)));
    const read = new Stack(new App(), 'Read');
    new CfnInclude(read, 'Synthesized', { templateFile: file });
    Aspects.of(read).add(new AwsSolutionsChecks());
    const found = Annotations.fromStack(read);
    const all = [
      ...found.findError('*', Match.anyValue()),
      ...found.findWarning('*', Match.anyValue()),
    ];
    const left = all.filter(({ entry }) => {
      const rule = /^(AwsSolutions-\w+)/.exec(String(entry.data))?.[1] ?? '';
      used.add(rule);
      return !(rule in ACKNOWLEDGED);
    });
    assert.deepEqual(
      left.map(({ id, entry }) => `${id}: ${String(entry.data).slice(0, 160)}`),
      [],
    );
    assert.ok(all.length > 10, `${all.length} findings`);
  }
  assert.deepEqual(
    Object.keys(ACKNOWLEDGED).filter((rule) => !used.has(rule)),
    [],
    'acknowledged, and not found',
  );
});
