import assert from 'node:assert/strict';
import { test } from 'node:test';

import { App, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import * as dynamodb from 'aws-cdk-lib/aws-dynamodb';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as sns from 'aws-cdk-lib/aws-sns';
import * as sqs from 'aws-cdk-lib/aws-sqs';

import { CancelApi } from '../lib';
import { code, inAnotherApp } from './app';

const pk = { name: 'pk', type: dynamodb.AttributeType.STRING };

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

test('an option that the table tells too is refused; a key that it does not tell is used', () => {
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
