import { readFileSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { assert } from 'chai';
import { differentComparison, equalComparison, report } from './fixture.ts';
import { toHtml } from './html.ts';
import { toJson } from './json.ts';
import { toJUnit } from './junit.ts';
import { toMarkdown } from './markdown.ts';
import type { Report } from './model.ts';
import { toTerminal } from './terminal.ts';

const plain = { color: false, written: ['file:///reports/x/report.json', 'file:///reports/x/report.html'] };
const text = {
  HTML: toHtml,
  Markdown: toMarkdown,
  terminal: (value: Report) => toTerminal(value, plain),
  JUnit: toJUnit,
  JSON: toJson,
};

const passed = () => report({ verdict: 'Passed', comparisons: [equalComparison()], queries: [] });
const errored = () =>
  report({
    verdict: 'Errored',
    comparisons: [],
    queries: [],
    fingerprint: null,
    notCompared: [{ step: 'parity', source: 'ops', name: 'flights', kind: 'Table' }],
    errors: [
      {
        code: 'AccessDenied',
        message: 'reading s3://lake was refused',
        advice: 'Check the secret.',
        isRetryable: false,
        task: 'snapshot-0',
        kind: 'snapshot',
        table: 'flights',
        attempts: 3,
      },
    ],
  });

describe('a report in every format', () => {
  for (const [format, render] of Object.entries(text)) {
    it(`says verdict and fingerprint in ${format}`, () => {
      assert.include(render(report()), 'Failed');
      assert.include(render(report()), report().fingerprint ?? '');
    });

    it(`names what could not be carried out, what to do, and what was not compared in ${format}`, () => {
      const rendered = render(errored());
      for (const part of ['Errored', 'AccessDenied', 'reading s3://lake was refused', 'Check the secret.', 'flights']) {
        assert.include(rendered, part);
      }
    });

    it(`names column, rule and number of rows in ${format}`, () => {
      const rendered = render(report()).replaceAll('&#95;', '_');
      assert.include(rendered, 'updated_at');
      assert.include(rendered, 'ShiftedByHours');
      assert.include(rendered.replaceAll('3453', '3,453'), '3,453');
    });
  }

  it('keeps masked values out of all of them', () => {
    const run = { ...report().run, values: 'Masked' as const };
    const comparison = differentComparison({
      samples: [
        { class: 'changed', key: { id: 'a1b2' }, columns: [{ name: 'updated_at', baseline: null, candidate: null }] },
      ],
    });
    const masked = report({ run, comparisons: [comparison], queries: [] });
    for (const render of [toHtml, toJUnit, (value: Report) => toTerminal(value, plain)]) {
      assert.notInclude(render(masked), 'updated_at: NULL -> NULL');
      assert.notInclude(render(masked), '<em>NULL</em>');
    }
  });
});

describe('JSON', () => {
  const schema: object = JSON.parse(readFileSync(new URL('./report.schema.json', import.meta.url), 'utf8'));
  const validate = new Ajv2020({ allErrors: true, allowUnionTypes: true }).compile(schema);

  for (const [name, value] of Object.entries({ failed: report(), passed: passed(), errored: errored() })) {
    it(`follows the published schema (${name})`, () => {
      validate(JSON.parse(toJson(value)));
      assert.deepEqual(validate.errors ?? [], []);
    });
  }

  it('with a field that the schema lacks does not follow it', () => {
    assert.isFalse(validate({ ...report(), surprise: 1 }));
  });
});

describe('JUnit', () => {
  it('tells failures, errors, skipped and passed cases apart and counts them', () => {
    assert.include(
      toJUnit(report()),
      '<testsuites name="flights-round-trip" tests="5" failures="2" errors="0" skipped="1">',
    );
    assert.include(toJUnit(errored()), 'tests="2" failures="0" errors="1" skipped="1"');
    assert.include(toJUnit(passed()), 'tests="1" failures="0" errors="0" skipped="0"');
  });

  it('escapes markup and characters that XML cannot hold', () => {
    const xml = toJUnit(report({ comparisons: [differentComparison({ table: '<a href="x">&\u0000\ud800\n]]>' })] }));
    assert.include(xml, 'name="&lt;a href=&quot;x&quot;&gt;&amp;\uFFFD\uFFFD&#10;]]&gt;"');
    assert.notInclude(xml, '\u0000');
  });
});

describe('Markdown', () => {
  it('holds no values of the data', () => {
    assert.notInclude(toMarkdown(report()), '2013-11-01');
  });

  it('escapes what would be markup or a mention', () => {
    const markdown = toMarkdown(
      report({ comparisons: [differentComparison({ table: '<img src=x> @all | `a` **b**' })] }),
    );
    for (const raw of ['<img', '@all', '| `a`', '**b**']) assert.notInclude(markdown, raw);
  });

  it('stays below the 1 MiB of a step summary with 1,000 differing tables', () => {
    const comparisons = Array.from({ length: 1000 }, (_, index) => differentComparison({ table: `table_${index}` }));
    const markdown = toMarkdown(report({ comparisons }));
    assert.isBelow(Buffer.byteLength(markdown), 2 ** 20);
    assert.include(markdown, '900 more');
  });
});

describe('HTML', () => {
  it('escapes hostile names and values wherever they stand', () => {
    const hostile = `"><script>alert(1)</script><img src=x onerror='alert(2)'>`;
    const sample = {
      class: 'changed' as const,
      key: { [hostile]: hostile },
      columns: [{ name: hostile, baseline: hostile, candidate: hostile }],
    };
    const base = report();
    const html = toHtml({
      ...base,
      run: { ...base.run, name: hostile, uid: hostile },
      headline: hostile,
      comparisons: [
        differentComparison({ table: hostile, step: hostile, source: hostile, samples: [sample], notes: [hostile] }),
      ],
      queries: base.queries.map((query) => ({ ...query, name: hostile, message: hostile })),
      notes: [{ about: hostile, note: hostile }],
      errors: errored().errors.map((error) => ({ ...error, message: hostile, advice: hostile, table: hostile })),
      notCompared: [{ step: hostile, source: hostile, name: hostile, kind: 'Table' }],
      snapshot: { ...base.snapshot, location: hostile },
    });
    assert.notMatch(html, /<script|<img/i);
  });

  it('asks nothing of the network and runs nothing', () => {
    const html = toHtml(report());
    assert.notMatch(html, /<script|<link|<img|@import|url\(|https?:\/\//i);
    assert.include(html, "default-src 'none'");
  });
});

describe('the terminal', () => {
  it('shows verdict, aligned counts, first differences with their causes, and where the report lies', () => {
    const shown = toTerminal(report(), plain);
    assert.include(
      shown,
      '✗  parity  flights (ops)    336,776    356,770       10      4    3,453      20,000      12',
    );
    assert.include(shown, 'updated_at: 3,453 rows changed; all explained by ShiftedByHours +5 h');
    assert.include(shown, 'e.g. changed id=42');
    assert.include(shown, 'Report:      file:///reports/x/report.html (and json beside it)');
    assert.include(shown, 'Shown in the report and not counted: 12 rows that cursors could not see, in 1 comparison');
    assert.match(
      shown,
      /^Failed {2}flights-round-trip: 23,468 differences in 1 of 2 comparisons; 1 of 2 queries differ$/m,
    );
  });

  it('cannot be steered by control characters in the data', () => {
    const shown = toTerminal(report({ comparisons: [differentComparison({ table: '\u001b[2J\u202eevil' })] }), plain);
    for (const raw of ['\u001b', '\u202e']) assert.notInclude(shown, raw);
  });

  it('counts equal tables instead of listing hundreds', () => {
    const comparisons = Array.from({ length: 1000 }, (_, index) => equalComparison({ table: `table_${index}` }));
    const shown = toTerminal(report({ verdict: 'Passed', comparisons, queries: [] }), plain);
    assert.include(shown, '1,000 more are equal');
    assert.isBelow(shown.split('\n').length, 20);
  });
});
