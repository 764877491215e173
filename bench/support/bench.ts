import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { env } from '../../src/support/env.ts';
import { type Measured, measure } from './measure.ts';

export const root = join(import.meta.dirname, '../..');
export const node = process.execPath;
export const cacheDir = env.cacheDir();

/** Runs one benchmark in the project's root and names it where it fails. */
export async function bench(name: string, body: () => Promise<void>): Promise<void> {
  process.chdir(root);
  try {
    await body();
  } catch (error) {
    console.error(`bench ${name}: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}

/** A folder for generated inputs, kept between runs. */
export function folderFor(name: string): string {
  const folder = join(cacheDir, 'bench', name);
  mkdirSync(folder, { recursive: true });
  return folder;
}

export function parity(
  args: readonly string[],
  options: { expected?: readonly number[]; env?: NodeJS.ProcessEnv } = {},
): Promise<Measured> {
  return measure([node, 'bin/parity.js', ...args], options);
}

/** Prints rows of a Markdown table: what, ratio (smallest–largest), to reach, peak memory of the largest process. */
export function print(title: string, rows: readonly (readonly [string, string, string, string])[]): void {
  console.log(`\n### ${title}\n\n| work | measured | to reach | peak memory |\n|---|---|---|---|`);
  for (const row of rows) console.log(`| ${row.join(' | ')} |`);
}
