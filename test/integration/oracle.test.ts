import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { openEngine } from '../../src/engine/chdb.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { quoteIdentifier } from '../../src/engine/sql.ts';
import { listVersions, readDeltaSnapshot } from '../../src/lake/delta/log.ts';
import { openReader } from '../../src/lake/open.ts';
import type { Relation } from '../../src/lake/relation.ts';
import { deltaRelation } from '../../src/lake/relation-delta.ts';
import { crossCheck } from '../../src/lake/second-reader.ts';
import type { ObjectReader } from '../../src/lake/store.ts';
import type { DataType } from '../../src/lake/types.ts';
import { checkedCount } from '../../src/tasks/relations.ts';
import { pythonPath } from '../support/python.ts';

const LAKE = resolve('examples/lake');
const TABLES = ['airlines', 'airports', 'flights', 'planes', 'types', 'weather'];
/** Of 16 versions of 336,776 rows: the first, before and after the checkpoint and the added column, the base, the newest. */
const FLIGHTS = [0, 6, 8, 9, 15];

describe('the example lake, read by us and by delta-rs', function () {
  this.timeout(300_000);
  const folder = process.cwd();
  let scratch: string;
  let engine: Engine;
  let reader: ObjectReader;
  let python: string;

  before(async () => {
    python = await pythonPath();
    scratch = await mkdtemp(join(tmpdir(), 'parity-oracle-'));
    process.chdir('/');
    engine = await openEngine({ scratch, memoryBytes: 2_000_000_000, threads: 2 });
    reader = await openReader({ location: `file://${LAKE}` });
  });

  after(async () => {
    await engine.close();
    process.chdir(folder);
    await rm(scratch, { recursive: true });
  });

  for (const table of TABLES) {
    it(`${table} is the same at every version, row for row`, async () => {
      const out = await mkdtemp(join(scratch, `${table}-`));
      const versions = table === 'flights' ? FLIGHTS : await listVersions(reader, table);
      const oracle = join(folder, 'test/support/oracle.py');
      await promisify(execFile)(python, [oracle, join(LAKE, table), out, ...versions.map(String)]);
      for (const version of versions) {
        const relation = await deltaRelation(engine, reader, table, await readDeltaSnapshot(reader, table, version));
        const theirs = await readFile(join(out, `${version}.tsv`));
        const ours = await sortedLines(engine, relation);
        // Digests first: a difference of whole tables is not something to print.
        if (sha256(ours) === sha256(theirs)) continue;
        expect.fail(`${table}@${version}: ${JSON.stringify(firstDifference(ours, theirs), undefined, 2)}`);
      }
    });

    it(`${table} has the rows that its log counts, and a second reader sees the same`, async () => {
      for (const version of await listVersions(reader, table)) {
        const snapshot = await readDeltaSnapshot(reader, table, version);
        const relation = await deltaRelation(engine, reader, table, snapshot);
        expect(await checkedCount(engine, relation), `${table}@${version}`).to.equal(snapshot.rows);
        const checked = await crossCheck(engine, reader, table, snapshot, table, { rows: 500 });
        expect(checked.note, `${table}@${version}`).to.be.oneOf([undefined, 'nothing to read']);
      }
    });
  }
});

/** The relation's rows as oracle.py writes them. */
async function sortedLines(engine: Engine, relation: Relation): Promise<Buffer> {
  const texts = relation.columns.map(({ name, type }) => {
    const column = `t.${quoteIdentifier(name)}`;
    return `ifNull(${textOf(column, type)}, '\\\\N')`;
  });
  const sql = `SELECT concat(${texts.join(`, '\\t', `)}, '') AS line FROM (${relation.sql}) AS t ORDER BY line`;
  const chunks: Uint8Array[] = [];
  for await (const chunk of engine.stream(sql, 'TSVRaw')) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function textOf(column: string, type: DataType): string {
  switch (type.kind) {
    case 'float':
      return `toString(reinterpretAsInt32(${column}))`;
    case 'double':
      return `toString(reinterpretAsInt64(${column}))`;
    case 'decimal':
      return `toDecimalString(${column}, ${type.scale})`;
    case 'binary':
      return `lower(hex(${column}))`;
    case 'string':
    case 'struct':
    case 'array':
    case 'map':
      return `replaceAll(replaceAll(replaceAll(${column}, '\\\\', '\\\\\\\\'), '\\t', '\\\\t'), '\\n', '\\\\n')`;
    default:
      return `toString(${column})`;
  }
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function firstDifference(ours: Buffer, theirs: Buffer): { ours: string; theirs: string } | undefined {
  const [a, b] = [ours.toString().split('\n'), theirs.toString().split('\n')];
  const [mine, other] = [new Set(a), new Set(b)];
  const difference = {
    ours: a.find((line) => !other.has(line)) ?? '',
    theirs: b.find((line) => !mine.has(line)) ?? '',
  };
  return ours.equals(theirs) ? undefined : difference;
}
