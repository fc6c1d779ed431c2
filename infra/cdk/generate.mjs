// Makes what the construct is built from out of ../template.yaml: the template as JSON, and its
// parameters as typed options.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';

import { parse } from 'yaml';

const FUNCTIONS = [
  'And',
  'EachMemberIn',
  'Equals',
  'FindInMap',
  'GetAtt',
  'If',
  'Join',
  'Not',
  'Or',
  'Select',
  'Split',
  'Sub',
  'ToJsonString',
];

/** `!Sub x` is `{"Fn::Sub": x}`, as a scalar, a list or a map. */
function tag(name) {
  const key = name === 'Ref' || name === 'Condition' ? name : `Fn::${name}`;
  const value = (node) => ({
    [key]: key === 'Fn::GetAtt' && typeof node === 'string' ? node.split('.') : node,
  });
  return [
    { tag: `!${name}`, resolve: value },
    { tag: `!${name}`, collection: 'seq', resolve: (seq) => value(seq.toJSON()) },
    { tag: `!${name}`, collection: 'map', resolve: (map) => value(map.toJSON()) },
  ];
}

const text = readFileSync(new URL('../template.yaml', import.meta.url), 'utf8');
const template = parse(text, { customTags: ['Ref', 'Condition', ...FUNCTIONS].flatMap(tag) });

/** The TypeScript type of a parameter's values. */
function type({ Type, AllowedValues }) {
  const words = AllowedValues?.map((value) => `'${value}'`).join(' | ');
  if (Type === 'CommaDelimitedList') {
    return `readonly (${words ?? 'string'})[]`;
  }
  if (Type === 'Number') {
    return 'number';
  }
  if (AllowedValues === undefined) {
    return 'string';
  }
  return AllowedValues.includes('true') ? 'boolean' : words;
}

const options = Object.entries(template.Parameters).map(([name, parameter]) => {
  const about =
    `${parameter.Description ?? ''} @default ${String(parameter.Default) || 'none'}`.trim();
  return `  /** ${about} */\n  readonly ${name[0].toLowerCase()}${name.slice(1)}?: ${type(parameter)};`;
});
const folder = new URL('lib/generated/', import.meta.url);
mkdirSync(folder, { recursive: true });
writeFileSync(new URL('template.json', folder), JSON.stringify(template));
writeFileSync(
  new URL('options.ts', folder),
  `/** The template's parameters. What is left out has the template's default. */\nexport interface Options {\n${options.join('\n')}\n}\n`,
);
