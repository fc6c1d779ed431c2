import { Aws, CfnDeletionPolicy, CfnResource, Fn, RemovalPolicy, Token } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import * as codedeploy from 'aws-cdk-lib/aws-codedeploy';
import * as dynamodb from 'aws-cdk-lib/aws-dynamodb';
import * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as sns from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';

import { Options } from './generated/options';
import { CancelTemplate, Node, PARAMETERS as ALL, Resource } from './template';

/** What {@link CancelApi} is built from, beside the template's parameters. */
export interface CancelApiProps extends Options {
  /** A provider's binary, as `cargo lambda build` makes it: a folder with `bootstrap` in it. */
  readonly code: (provider: string) => lambda.Code;
  /** Begins the names of all that has one. @default the stack's name */
  readonly name?: string;
  /** Begins the logical ids. @default the construct's id */
  readonly prefix?: string;
  /**
   * Instead of `paymentsTableName`, `paymentsKey` and `paymentsStreamLabel`: a `Table` or `TableV2`
   * with the partition key `pk`. What an imported table does not tell is given beside it.
   */
  readonly payments?: dynamodb.ITable;
  /** Instead of `credentialsTableName` and `credentialsKey`, in the same way. */
  readonly credentials?: dynamodb.ITable;
  /** Instead of `alarmTopicArn`. */
  readonly alarmTopic?: sns.ITopic;
}

const PARAMETERS = Object.keys(ALL);

/** SAM's name of CodeDeploy's application. */
const APPLICATION = 'ServerlessDeploymentApplication';

/** The properties that are no parameter of the template. */
const OTHERS = new Set(['code', 'name', 'prefix', 'payments', 'credentials', 'alarmTopic']);

/** A provider's function, and what belongs to it. */
export interface ProviderFunction {
  /** The function. What is granted to it, its role gets. */
  readonly function: lambda.Function;
  /** What API Gateway calls. */
  readonly alias: lambda.Alias;
  /** Where the provider's payments are canceled, with the parameter in braces. */
  readonly url: string;
}

/**
 * Payment-cancel endpoints: a function for each provider with no more rights than it needs, behind
 * API Gateway.
 *
 * All that is made, `infra/template.yaml` says, which SAM deploys as it is.
 */
export class CancelApi extends Construct {
  /** The functions by provider. */
  readonly providers: Readonly<Record<string, ProviderFunction>>;
  /** The alarms by their names in the template: `vtexUndecided`, `vtexBurnFast`, `EventsSilent`. */
  readonly alarms: Readonly<Record<string, cloudwatch.IAlarm>>;
  /** The payments table, given or new. */
  readonly payments: dynamodb.ITable;
  /** The credentials table, given or new. */
  readonly credentials: dynamodb.ITable;
  /** Where `payment.canceled` is published, with `eventsOut`. */
  readonly bus?: events.IEventBus;
  /** The new topic of alarms, with `alarmEmail`. */
  readonly alarmTopic?: sns.ITopic;
  /** The template's outputs. */
  readonly outputs: CancelTemplate['outputs'];
  private readonly prefix: string;

  constructor(scope: Construct, id: string, props: CancelApiProps) {
    super(scope, id);
    this.prefix = props.prefix ?? id;
    const name = props.name ?? Aws.STACK_NAME;
    const template = new CancelTemplate(parameters(props), name, this.prefix);
    const { resources } = template;
    const application = new codedeploy.LambdaApplication(this, APPLICATION);
    override(application, this.prefix + APPLICATION, {});
    const providers: Record<string, ProviderFunction> = {};
    const alarms: Record<string, cloudwatch.IAlarm> = {};
    const roles = new Set<string>();
    for (const [logical, resource] of Object.entries(resources)) {
      if (resource.Type === 'AWS::Serverless::Function') {
        const provider = logical.replace(/Function$/, '');
        roles.add(`${provider}Role`);
        const role = resources[`${provider}Role`] as Resource;
        const made = this.function(
          provider,
          resource.Properties,
          role.Properties,
          props.code(provider),
          application,
        );
        providers[provider] = { ...made, url: template.outputs[`${provider}Url`]?.Value };
      }
    }
    for (const [logical, resource] of Object.entries(resources)) {
      if (resource.Type !== 'AWS::Serverless::Function' && !roles.has(logical)) {
        this.add(logical, resource);
      }
      if (
        resource.Type === 'AWS::CloudWatch::Alarm' ||
        resource.Type === 'AWS::CloudWatch::CompositeAlarm'
      ) {
        alarms[logical] = cloudwatch.Alarm.fromAlarmArn(
          this,
          `Alarm${logical}`,
          this.attribute(logical, 'Arn'),
        );
      }
    }
    this.providers = providers;
    this.alarms = alarms;
    this.outputs = template.outputs;
    this.payments = props.payments ?? this.table('Payments', template);
    this.credentials = props.credentials ?? this.table('Credentials', template);
    if ('Bus' in resources) {
      this.bus = events.EventBus.fromEventBusArn(
        this,
        'PublishedBus',
        this.attribute('Bus', 'Arn'),
      );
    }
    if ('AlarmTopic' in resources) {
      this.alarmTopic = sns.Topic.fromTopicArn(
        this,
        'PublishedTopic',
        Fn.ref(this.prefix + 'AlarmTopic'),
      );
    }
  }

  private attribute(logical: string, name: string): string {
    return Fn.getAtt(this.prefix + logical, name).toString();
  }

  private add(
    logical: string,
    { Type, Properties, DeletionPolicy, UpdateReplacePolicy }: Resource,
  ): void {
    const made = new CfnResource(this, logical, { type: Type, properties: Properties });
    made.overrideLogicalId(this.prefix + logical);
    made.cfnOptions.deletionPolicy = DeletionPolicy as CfnDeletionPolicy;
    made.cfnOptions.updateReplacePolicy = UpdateReplacePolicy as CfnDeletionPolicy;
  }

  /**
   * A function as SAM makes one: with a version for each change, an alias on it, and CodeDeploy to
   * shift the traffic.
   */
  private function(
    provider: string,
    properties: Node,
    rights: Node,
    code: lambda.Code,
    application: codedeploy.ILambdaApplication,
  ): Omit<ProviderFunction, 'url'> {
    const { Tracing, AutoPublishAlias, DeploymentPreference, ...plain } = properties;
    for (const name of ['CodeUri', 'Role', 'AutoPublishAliasAllProperties']) {
      delete plain[name];
    }
    const { SETTINGS: _text, ...variables } = plain.Environment.Variables;
    plain.Environment = {
      Variables: Object.fromEntries(
        Object.entries(variables).map(([name, value]) => [name, String(value)]),
      ),
    };
    // Made with the CDK's own classes, so that what an app grants is granted; what is in them, the
    // template says.
    const role = new iam.Role(this, `${provider}Role`, {
      assumedBy: new iam.ServicePrincipal('lambda.amazonaws.com'),
    });
    override(role, `${this.prefix}${provider}Role`, rights);
    const made = new lambda.Function(this, `${provider}Function`, {
      code,
      handler: plain.Handler,
      runtime: lambda.Runtime.PROVIDED_AL2023,
      architecture:
        plain.Architectures[0] === 'arm64'
          ? lambda.Architecture.ARM_64
          : lambda.Architecture.X86_64,
      role,
      currentVersionOptions: { removalPolicy: RemovalPolicy.RETAIN },
    });
    override(made, `${this.prefix}${provider}Function`, {
      ...plain,
      TracingConfig: { Mode: Tracing },
    });
    const alias = new lambda.Alias(this, `${provider}Alias`, {
      aliasName: AutoPublishAlias,
      version: made.currentVersion,
    });
    override(alias, `${this.prefix}${provider}FunctionAlias${AutoPublishAlias}`, {});
    const { Type, Alarms, Role } = DeploymentPreference;
    const group = new codedeploy.LambdaDeploymentGroup(this, `${provider}DeploymentGroup`, {
      application,
      alias,
      role: iam.Role.fromRoleArn(this, `${provider}DeployRole`, Token.asString(Role), {
        mutable: false,
      }),
      deploymentConfig: codedeploy.LambdaDeploymentConfig.fromLambdaDeploymentConfigName(
        this,
        `${provider}DeploymentConfig`,
        `CodeDeployDefault.Lambda${Type}`,
      ),
      alarms: Alarms.map((one: Node, n: number) =>
        cloudwatch.Alarm.fromAlarmName(this, `${provider}Brake${n}`, Token.asString(one)),
      ),
      autoRollback: { failedDeployment: true, stoppedDeployment: true, deploymentInAlarm: true },
    });
    override(group, `${this.prefix}${provider}FunctionDeploymentGroup`, {});
    return { function: made, alias };
  }

  private table(which: 'Payments' | 'Credentials', template: CancelTemplate): dynamodb.ITable {
    const given = template.value(`${which}TableName`);
    const key = template.value(`${which}Key`);
    const made = `${which}EncryptionKey` in template.resources;
    const keyArn = made ? this.attribute(`${which}EncryptionKey`, 'Arn') : key;
    return dynamodb.Table.fromTableAttributes(this, which, {
      ...(given === ''
        ? { tableArn: this.attribute(`${which}Table`, 'Arn') }
        : { tableName: given }),
      tableStreamArn:
        given === '' && which === 'Payments'
          ? this.attribute('PaymentsTable', 'StreamArn')
          : undefined,
      encryptionKey: keyArn === '' ? undefined : kms.Key.fromKeyArn(this, `${which}Key`, keyArn),
    });
  }
}

/** Gives a construct's resource the template's name and properties. */
function override(construct: Construct, logical: string, properties: Node): void {
  const made = construct.node.defaultChild as CfnResource;
  made.overrideLogicalId(logical);
  for (const [key, value] of Object.entries(properties)) {
    made.addPropertyOverride(key, value);
  }
}

/**
 * The template's parameters out of the properties: `memorySize` is `MemorySize`, and a table is its
 * name, its key and its stream.
 */
function parameters(props: CancelApiProps): Record<string, unknown> {
  const { payments, credentials, alarmTopic } = props;
  const stream = payments?.tableStreamArn;
  const options: Options = {
    ...(payments && {
      paymentsTableName: payments.tableName,
      paymentsKey: payments.encryptionKey?.keyArn,
    }),
    ...(stream !== undefined && { paymentsStreamLabel: Fn.select(3, Fn.split('/', stream)) }),
    ...(credentials && {
      credentialsTableName: credentials.tableName,
      credentialsKey: credentials.encryptionKey?.keyArn,
    }),
    ...(alarmTopic && { alarmTopicArn: alarmTopic.topicArn }),
  };
  const told = Object.entries(options).filter(([, value]) => value !== undefined);
  for (const [name] of told) {
    if (props[name as keyof Options] !== undefined) {
      throw new Error(`"${name}" is given, and by the table or topic too; leave one out`);
    }
  }
  const known: Record<string, unknown> = {};
  for (const [name, value] of [...Object.entries(props), ...told]) {
    if (!OTHERS.has(name)) {
      const parameter = PARAMETERS.find(
        (one) => one.toLowerCase() === name.toLowerCase() && one.slice(1) === name.slice(1),
      );
      if (parameter === undefined) {
        throw new Error(
          `"${name}" is no option; the options are ${PARAMETERS.map(option).join(', ')}`,
        );
      }
      known[parameter] = value;
    }
  }
  return known;
}

/** A parameter's name as an option. */
const option = (parameter: string): string => `${parameter[0]?.toLowerCase()}${parameter.slice(1)}`;
