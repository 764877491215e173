import { readFileSync } from 'node:fs';
import { Environment } from '@marcbachmann/cel-js';
import { expect } from 'chai';
import { drifted } from '../../scripts/generate.ts';
import { DEFAULTS, DOCUMENTED_DEFAULTS } from './defaults.ts';
import { explain, fieldPaths } from './explain.ts';
import { BUGS } from './generated/enums.ts';
import { hasWords } from './patterns.ts';
import { crdFile, type FieldSchema, schemaOf } from './schema.ts';

const ALL = everyField(schemaOf('PipelineParityRun'), '');
const SPEC = ALL.filter(({ path }) => path.startsWith('spec'));

describe('The definitions', () => {
  it('are what the plan, the types and the reference were generated from', async () => {
    expect(await drifted(), 'run: npm run generate').to.deep.equal([]);
  });

  it('describe every field', () => {
    expect(missing(({ field, path }) => path !== 'metadata' && field.description === undefined)).to.deep.equal([]);
  });

  it('bound every list and every text, which the cost limit of CEL rules needs', () => {
    expect(missing(({ field }) => field.type === 'array' && field.maxItems === undefined)).to.deep.equal([]);
    const texts = ({ field }: Field): boolean => field.type === 'string' && field.enum === undefined;
    expect(missing((each) => texts(each) && each.field.maxLength === undefined)).to.deep.equal([]);
  });

  it('say of every list how it merges', () => {
    expect(
      missing(({ field }) => field.type === 'array' && field['x-kubernetes-list-type'] === undefined),
    ).to.deep.equal([]);
  });

  it('set no default on a field that a plan may set', () => {
    expect(SPEC.filter(({ field }) => field.default !== undefined)).to.deep.equal([]);
  });

  it('have words for every pattern', () => {
    const patterns = ALL.flatMap(({ field }) => (field.pattern === undefined ? [] : [field.pattern]));
    expect(patterns.filter((pattern) => !hasWords(pattern))).to.deep.equal([]);
  });

  it('have rules that can be read, each with a message', () => {
    const environment = new Environment().registerVariable('self', 'dyn').registerVariable('oldSelf', 'dyn');
    for (const { rule, message } of ALL.flatMap(({ field }) => field['x-kubernetes-validations'] ?? [])) {
      expect(environment.check(rule).valid, rule).to.equal(true);
      expect(message).to.match(/^[a-z].*[^.]$/);
    }
  });

  it('make each field of a run immutable, but for those that switch it, and let plans change', () => {
    const spec = schemaOf('PipelineParityRun').properties?.spec;
    const [rule] = (spec?.['x-kubernetes-validations'] ?? []).filter(({ message }) => /immutable/.test(message));
    const mayChange = ['suspend', 'cancel', 'cleanup'];
    for (const field of Object.keys(spec?.properties ?? {})) {
      const isCompared = `has(self.${field}) == has(oldSelf.${field}) && (!has(self.${field}) || self.${field} == oldSelf.${field})`;
      expect(rule?.rule.includes(isCompared), field).to.equal(!mayChange.includes(field));
    }
    expect(readFileSync(crdFile('PipelineParityPlan'), 'utf8')).to.not.contain('oldSelf');
  });

  it('document defaults of fields that exist, among them all that are applied', () => {
    const paths = new Set(ALL.map(({ path }) => path));
    expect(Object.keys(DOCUMENTED_DEFAULTS).filter((path) => !paths.has(path))).to.deep.equal([]);
    expect(BUGS).to.include(DEFAULTS.pipeline.bug);
  });
});

describe('explain', () => {
  it('knows every field, with or without brackets and kind', () => {
    for (const path of fieldPaths()) expect(explain(path)).to.contain(`FIELD:    ${path} <`);
    expect(explain('ppr.spec.snapshot.tables[flights].key')).to.equal(explain('spec.snapshot.tables.key'));
    expect(explain('pipelineparityplan.spec')).to.contain('KIND:     PipelineParityPlan').and.not.to.contain('planRef');
  });

  it('shows values, default, rules and fields', () => {
    expect(explain('spec.scenario')).to.equal(`KIND:     PipelineParityRun
VERSION:  pipelineparity.io/v1alpha1
FIELD:    spec.scenario <[]object>

DESCRIPTION:
    The steps of the run, in order. Left out: full sync, compare, and, where a
    table has a baseVersion, advance, incremental sync, compare; then the
    queries.

VALUE:
    at most 50 items
    default: see the description

RULES:
    - steps must have different names
    - exactly one of sync, advance, compare, query

FIELDS:
    name <string> -required-
      Name of the step; part of other names.

    sync <object>
      Executes pipelines once.

    advance <object>
      Brings the sources from \`baseVersion\` to \`version\`.

    compare <object>
      Compares two sides, every table and every row.

    query <object>
      Runs queries on both sides.
`);
    expect(explain('spec.comparison.unseen')).to.contain('one of Expected, Fail').and.to.contain('default: Expected');
  });

  for (const [path, message] of [
    ['spec.snapshto', 'spec has no field "snapshto"; did you mean "snapshot"?'],
    ['spek', 'PipelineParityRun has no field "spek"; did you mean "spec"?'],
    ['spec.sources.embedded.port', 'spec.sources.embedded has no field "port"; it has no fields'],
    [
      'spec.constructor',
      'spec has no field "constructor"; known are planRef, snapshot, workspace, sources, pipelines, scenario, comparison, queries, execution, cleanup, reports, suspend, …',
    ],
  ] as const) {
    it(`says of ${path} what there is`, () => {
      expect(() => explain(path))
        .to.throw(message)
        .with.property('code', 'BadUsage');
    });
  }
});

interface Field {
  readonly path: string;
  readonly field: FieldSchema;
}

function missing(isWrong: (field: Field) => boolean): readonly string[] {
  return ALL.filter(isWrong).map(({ path }) => path);
}

function everyField(schema: FieldSchema, path: string): Field[] {
  const children = Object.entries(schema.properties ?? {}).flatMap(([name, field]) =>
    everyField(field, path === '' ? name : `${path}.${name}`),
  );
  const items = schema.items === undefined ? [] : everyField(schema.items, `${path}[]`);
  return [{ path, field: schema }, ...children, ...items];
}
