import { Fn, Token } from 'aws-cdk-lib';

import template from './generated/template.json';

/** A node of a template: JSON, with CloudFormation's functions and the CDK's tokens in it. */
export type Node = any;

/** A resource as CloudFormation takes it. */
export interface Resource {
  readonly Type: string;
  readonly Properties: Node;
  readonly DeletionPolicy?: string;
  readonly UpdateReplacePolicy?: string;
}

interface Parameter {
  readonly Type: string;
  readonly Default: string | number;
  readonly AllowedValues?: readonly unknown[];
  readonly AllowedPattern?: string;
  readonly ConstraintDescription?: string;
  readonly MinValue?: number;
  readonly MaxValue?: number;
}

/** The template's parameters. */
export const PARAMETERS = template.Parameters as unknown as Record<string, Parameter>;
const ABSENT = Symbol('AWS::NoValue');

/**
 * `infra/template.yaml` with its options given: the loops written out, the conditions decided, and
 * only the resources that there are.
 *
 * What only a deployment knows stays in it, as CloudFormation's `Ref` and `Fn::GetAtt`, with
 * `prefix` before the names of resources.
 */
export class CancelTemplate {
  /** The resources by name, without the prefix. */
  readonly resources: Readonly<Record<string, Resource>>;
  /** The outputs' values. */
  readonly outputs: Readonly<
    Record<string, { readonly Description?: string; readonly Value: Node }>
  >;
  private readonly values: Record<string, Node>;
  private readonly names: ReadonlySet<string>;
  private readonly conditions: Record<string, Node>;

  /**
   * `options` are the template's parameters by name, `stackName` is what names of things begin
   * with.
   */
  constructor(
    options: Readonly<Record<string, unknown>>,
    stackName: string,
    private readonly prefix: string,
  ) {
    this.values = { 'AWS::StackName': stackName };
    for (const [name, parameter] of Object.entries(PARAMETERS)) {
      this.values[name] = checked(name, parameter, options[name]);
    }
    this.conditions = this.written(template.Conditions, {});
    this.rules();
    const present = (all: Node) =>
      Object.fromEntries(
        Object.entries(this.written(all, {})).filter(([, one]) => {
          const { Condition } = one as { Condition?: string };
          return Condition === undefined || this.decide(this.conditions[Condition]);
        }),
      );
    const resources = present(template.Resources) as Record<string, Node>;
    this.names = new Set(Object.keys(resources));
    this.resources = Object.fromEntries(
      Object.entries(resources).map(([name, { Type, ...rest }]) => [
        name,
        {
          Type,
          Properties: this.worked(rest.Properties ?? {}),
          DeletionPolicy: this.worked(rest.DeletionPolicy),
          UpdateReplacePolicy: this.worked(rest.UpdateReplacePolicy),
        },
      ]),
    );
    this.outputs = Object.fromEntries(
      Object.entries(present(template.Outputs) as Record<string, Node>).map(
        ([name, { Description, Value }]) => [name, { Description, Value: this.worked(Value) }],
      ),
    );
  }

  /** A parameter's value. */
  value(name: string): Node {
    return this.values[name];
  }

  /** Refuses options that do not go together. */
  private rules(): void {
    for (const rule of Object.values(template.Rules) as Node[]) {
      if (rule.RuleCondition === undefined || this.decide(rule.RuleCondition)) {
        for (const { Assert, AssertDescription } of rule.Assertions) {
          if (!this.decide(Assert)) {
            throw new Error(AssertDescription);
          }
        }
      }
    }
  }

  /**
   * The loops written out. A loop's variable is replaced in keys, in `Fn::Sub` and in `Ref`, as AWS
   * does it.
   */
  private written(node: Node, bound: Readonly<Record<string, string>>): Node {
    if (Array.isArray(node)) {
      return node.map((one) => this.written(one, bound));
    }
    if (typeof node !== 'object' || node === null) {
      return node;
    }
    if (typeof node.Ref === 'string' && node.Ref in bound) {
      return bound[node.Ref];
    }
    const result: Record<string, Node> = {};
    for (const [key, value] of Object.entries(node) as [string, Node][]) {
      if (key.startsWith('Fn::ForEach::')) {
        const [variable, collection, body] = value;
        for (const item of this.worked(this.written(collection, bound))) {
          Object.assign(result, this.written(body, { ...bound, [variable]: item }));
        }
      } else {
        const filled =
          key === 'Fn::Sub'
            ? Array.isArray(value)
              ? [fill(value[0], bound), value[1]]
              : fill(value, bound)
            : value;
        result[fill(key, bound)] = this.written(filled, bound);
      }
    }
    return result;
  }

  private decide(node: Node): boolean {
    const value = this.worked(node);
    if (typeof value !== 'boolean') {
      throw new Error(`${JSON.stringify(node)} is no condition`);
    }
    return value;
  }

  /** A node with everything worked out that does not need a deployment. */
  private worked(node: Node): Node {
    if (Array.isArray(node)) {
      return node.map((one) => this.worked(one)).filter((one) => one !== ABSENT);
    }
    if (typeof node !== 'object' || node === null || Token.isUnresolved(node)) {
      return node;
    }
    const [[key, argument] = ['', undefined], ...more] = Object.entries(node) as [string, Node][];
    if (more.length === 0) {
      const worked = this.call(key, argument);
      if (worked !== undefined) {
        return worked;
      }
    }
    return Object.fromEntries(
      Object.entries(node)
        .map(([name, one]) => [name, this.worked(one)])
        .filter(([, one]) => one !== ABSENT),
    );
  }

  /** What a function gives; nothing where it is none. */
  private call(key: string, argument: Node): Node {
    const values = () => this.worked(argument);
    switch (key) {
      case 'Ref':
        return this.ref(this.worked(argument));
      case 'Condition':
        return typeof argument === 'string' && argument in this.conditions
          ? this.decide(this.conditions[argument])
          : undefined;
      case 'Fn::If':
        return this.worked(this.decide(this.conditions[argument[0]]) ? argument[1] : argument[2]);
      case 'Fn::Equals': {
        const [one, other] = values();
        return String(one) === String(other);
      }
      case 'Fn::Not':
        return !values()[0];
      case 'Fn::And':
        return values().every(Boolean);
      case 'Fn::Or':
        return values().some(Boolean);
      case 'Fn::EachMemberIn': {
        const [some, all] = values();
        return some.every((one: string) => all.includes(one));
      }
      case 'Fn::FindInMap': {
        const [map, first, second] = values();
        const found = (template.Mappings as Node)[map][first][second];
        // Mappings hold texts; a period and a threshold are numbers.
        return map === 'Burns' && second !== 'Name' ? Number(found) : found;
      }
      case 'Fn::GetAtt': {
        const [name, attribute] = values();
        return Fn.getAtt(this.prefix + name, attribute);
      }
      case 'Fn::Join': {
        const [delimiter, parts] = values();
        return join(delimiter, parts);
      }
      case 'Fn::Split': {
        const [delimiter, text] = values();
        return Token.isUnresolved(text) || typeof text !== 'string'
          ? { 'Fn::Split': [delimiter, text] }
          : text.split(delimiter);
      }
      case 'Fn::Select': {
        const [n, list] = values();
        return Array.isArray(list) ? list[Number(n)] : { 'Fn::Select': [n, list] };
      }
      case 'Fn::ToJsonString':
        return '';
      case 'Fn::Sub':
        return this.sub(argument);
      default:
        return undefined;
    }
  }

  private ref(name: string): Node {
    if (name === 'AWS::NoValue') {
      return ABSENT;
    }
    if (name in this.values) {
      return this.values[name];
    }
    return Fn.ref(
      name.startsWith('AWS::')
        ? name
        : this.prefix + name.replace('Function.Alias', 'FunctionAliaslive'),
    );
  }

  private sub(argument: Node): string {
    const [text, given] = Array.isArray(argument) ? argument : [argument, {}];
    // Every second part is a name.
    const parts = (text as string).split(/\$\{([^}]+)\}/).map((part, n) => {
      if (n % 2 === 0) {
        return part;
      }
      if (part in given) {
        return this.worked(given[part]);
      }
      const [name = '', attribute] = part.split('.');
      return attribute === undefined || !this.names.has(name)
        ? this.ref(part)
        : Fn.getAtt(this.prefix + name, attribute).toString();
    });
    return join('', parts);
  }
}

/**
 * A text where all of it is known, since names are made of it; otherwise CloudFormation's
 * `Fn::Join`.
 */
function join(delimiter: string, parts: readonly Node[]): string {
  const known = parts.every((part) => typeof part !== 'object' && !Token.isUnresolved(part));
  return known ? parts.join(delimiter) : Fn.join(delimiter, [...parts]);
}

function fill(text: string, bound: Readonly<Record<string, string>>): string {
  return text.replace(/\$\{(\w+)\}/g, (whole, name: string) => bound[name] ?? whole);
}

/** An option's value as CloudFormation has it, held to the parameter's own rules. */
function checked(name: string, parameter: Parameter, given: unknown): Node {
  const {
    Type,
    Default,
    AllowedValues,
    AllowedPattern,
    ConstraintDescription,
    MinValue = -Infinity,
    MaxValue = Infinity,
  } = parameter;
  const refuse = (rule: string): never => {
    throw new Error(`${name} is ${JSON.stringify(given)} and ${rule}`);
  };
  if (Type === 'CommaDelimitedList') {
    const list: Node = given ?? String(Default).split(',');
    if (AllowedValues !== undefined) {
      if (!Array.isArray(list) || list.length === 0 || new Set(list).size < list.length) {
        refuse('must be a list of at least one, and each once');
      }
      if (!list.every((one: unknown) => AllowedValues.includes(one))) {
        refuse(`must be of ${AllowedValues.join(', ')}`);
      }
    }
    return list;
  }
  const value = given ?? Default;
  if (Token.isUnresolved(value)) {
    return value;
  }
  if (Type === 'Number' && !(typeof value === 'number' && value >= MinValue && value <= MaxValue)) {
    refuse(`must be a number from ${MinValue} to ${MaxValue}`);
  }
  const text = String(value);
  if (AllowedValues !== undefined && !AllowedValues.map(String).includes(text)) {
    refuse(`must be one of ${AllowedValues.join(', ')}`);
  }
  if (AllowedPattern !== undefined && !new RegExp(AllowedPattern).test(text)) {
    refuse(ConstraintDescription ?? `must match ${AllowedPattern}`);
  }
  return Type === 'Number' ? value : text;
}
