import { Aws, Duration, Stack } from 'aws-cdk-lib';
import * as dynamodb from 'aws-cdk-lib/aws-dynamodb';
import * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as pipes from 'aws-cdk-lib/aws-pipes';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import * as stepfunctions from 'aws-cdk-lib/aws-stepfunctions';
import { Construct } from 'constructs';

import { AlarmsProps, alarm } from './cancel-alarms';

/** What {@link PaymentCanceledEvents} is built from. */
export interface PaymentCanceledEventsProps extends AlarmsProps {
  /** Begins the names of what is made. */
  readonly name: string;
  /** With a stream of new and old images. */
  readonly payments: dynamodb.ITable;
}

/**
 * Tells of each canceled payment on a bus, as `infra/payment.canceled.v1.json` has it.
 *
 * The payments' stream is the outbox: what is in it has happened, and what has happened is in it. A pipe takes the cancels out of it, a state machine
 * without any code words them, and a bus tells whoever listens.
 */
export class PaymentCanceledEvents extends Construct {
  /** Where `payment.canceled` is told. */
  readonly bus: events.EventBus;
  /** Where the stream's records are that could not be told of; not the records themselves. */
  readonly undelivered: sqs.Queue;

  constructor(scope: Construct, id: string, props: PaymentCanceledEventsProps) {
    super(scope, id);
    const { payments } = props;
    const name = `${props.name}-canceled`;
    if (payments.tableStreamArn === undefined) {
      throw new Error('events need the stream of the payments table: import the table with its tableStreamArn');
    }
    this.bus = new events.EventBus(this, 'Bus', { eventBusName: `${props.name}-payments` });
    this.undelivered = new sqs.Queue(this, 'Undelivered', {
      queueName: `${props.name}-undelivered`,
      retentionPeriod: Duration.days(14),
      encryption: sqs.QueueEncryption.SQS_MANAGED,
    });
    // It is never given a log: the records have more in them than the events.
    const wording = new stepfunctions.CfnStateMachine(this, 'Wording', {
      stateMachineName: name,
      stateMachineType: 'EXPRESS',
      // It calls nobody, so it may do nothing.
      roleArn: new iam.Role(this, 'WordingRole', {
        description: `What the state machine ${name} may do`,
        assumedBy: new iam.ServicePrincipal('states.amazonaws.com'),
      }).roleArn,
      definition: WORDING,
    });
    const role = new iam.Role(this, 'PipeRole', {
      description: `What the pipe ${name} may do`,
      assumedBy: new iam.ServicePrincipal('pipes.amazonaws.com', {
        conditions: {
          StringEquals: {
            'aws:SourceAccount': Aws.ACCOUNT_ID,
            'aws:SourceArn': Stack.of(this).formatArn({ service: 'pipes', resource: 'pipe', resourceName: name }),
          },
        },
      }),
      inlinePolicies: {
        tell: new iam.PolicyDocument({
          statements: [
            new iam.PolicyStatement({
              sid: 'ReadStream',
              actions: ['DescribeStream', 'GetRecords', 'GetShardIterator', 'ListStreams'].map((one) => `dynamodb:${one}`),
              resources: [payments.tableStreamArn],
            }),
            new iam.PolicyStatement({ sid: 'Word', actions: ['states:StartSyncExecution'], resources: [wording.ref] }),
            new iam.PolicyStatement({ sid: 'Tell', actions: ['events:PutEvents'], resources: [this.bus.eventBusArn] }),
            new iam.PolicyStatement({
              sid: 'KeepUndelivered',
              actions: ['sqs:SendMessage'],
              resources: [this.undelivered.queueArn],
            }),
          ],
        }),
      },
    });
    const pipe = new pipes.CfnPipe(this, 'Pipe', {
      name,
      description: 'Tells of each canceled payment',
      roleArn: role.roleArn,
      source: payments.tableStreamArn,
      sourceParameters: {
        filterCriteria: { filters: [{ pattern: JSON.stringify(CANCELS) }] },
        dynamoDbStreamParameters: {
          // From the beginning, since LATEST may leave out what happens while the pipe is being made.
          startingPosition: 'TRIM_HORIZON',
          batchSize: 10,
          onPartialBatchItemFailure: 'AUTOMATIC_BISECT',
          maximumRetryAttempts: 10,
          // A record is in the stream for 24 hours; so there are 12 left to fetch one that the queue points to.
          maximumRecordAgeInSeconds: Duration.hours(12).toSeconds(),
          deadLetterConfig: { arn: this.undelivered.queueArn },
        },
      },
      enrichment: wording.ref,
      target: this.bus.eventBusArn,
      targetParameters: {
        eventBridgeEventBusParameters: { source: 'payment-cancel', detailType: 'payment.canceled' },
      },
    });

    alarm(this, 'EventsUndelivered', props, {
      name: `${props.name}-events-undelivered`,
      description: 'Nobody was told of a canceled payment',
      paragraph: 'undelivered-events',
      metric: {
        namespace: 'AWS/SQS',
        metricName: 'ApproximateNumberOfMessagesVisible',
        dimensionsMap: { QueueName: this.undelivered.queueName },
        statistic: 'Maximum',
      },
    });
    alarm(this, 'EventsFailing', props, {
      name: `${props.name}-events-failing`,
      description: 'The pipe fails, and tries again',
      paragraph: 'failing-pipe',
      metric: {
        namespace: 'AWS/EventBridge/Pipes',
        metricName: 'ExecutionFailed',
        dimensionsMap: { PipeName: pipe.ref },
        statistic: 'Sum',
      },
      periods: 2,
      of: 3,
    });
  }
}

/** From another word to a canceled one, which is the providers' own, by a cancel of ours: only that leaves a cancellation. */
const CANCELS = {
  eventName: ['MODIFY'],
  dynamodb: {
    OldImage: { status: { S: [{ 'anything-but': ['canceled', 'cancelled'] }] } },
    NewImage: { status: { S: ['canceled', 'cancelled'] }, cancellation: { M: { id: { S: [{ exists: true }] } } } },
  },
};

/**
 * From stream records to events. A payment that somebody moved out of its canceled word and back in still has the old cancellation: that is not ours.
 * JSON readers have 15 digits in common: an amount that has more, or a fraction, goes to the queue, rather than out in another form.
 */
const WORDING = {
  QueryLanguage: 'JSONata',
  StartAt: 'Word',
  States: {
    Word: {
      Type: 'Pass',
      End: true,
      Output: `{% [$states.input.dynamodb[$not(NewImage.cancellation.M.id.S = OldImage.cancellation.M.id.S)].(
        $rest := $substringAfter(Keys.pk.S, '#');
        $assert($contains(NewImage.amount.N, /^-?[0-9]{1,15}$/), 'amount is no integer of at most 15 digits');
        {
        'version': 1,
        'provider': $substringBefore(Keys.pk.S, '#'),
        'merchant_id': $substringBefore($rest, '#'),
        'payment_id': $substringAfter($rest, '#'),
        'amount': $number(NewImage.amount.N),
        'currency': NewImage.currency.S,
        'canceled_at': NewImage.canceled_at.S,
        'cancellation_id': NewImage.cancellation.M.id.S,
        'reason': NewImage.cancellation.M.reason.S
        }
        )] %}`.replace(/\s+/g, ' '),
    },
  },
};
