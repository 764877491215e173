#!/usr/bin/env node
// Plain JavaScript that any Node from 18 can run: it starts the project with a Node that can run TypeScript.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const sources = join(root, 'src', 'cli', 'main.ts');
// Node does not strip types below node_modules: an installed package runs what was built of it, as does an image, a checkout always its sources.
const isCheckout = existsSync(sources) && !root.split(sep).includes('node_modules');
const main = isCheckout ? sources : join(root, 'dist', 'src', 'cli', 'main.js');

if (isNewEnough(process.versions.node)) await import(pathToFileURL(main).href);
else runWith(bundledNode());

function isNewEnough(version) {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > 22 || (major === 22 && minor >= 19);
}

/** The npm package `node` carries the binary of its version. */
function bundledNode() {
  try {
    return join(dirname(createRequire(import.meta.url).resolve('node/package.json')), 'bin', 'node');
  } catch {
    process.stderr.write(
      `parity: Node ${process.versions.node} is too old, 22.19 is needed — run npm install, which brings one, or install a newer Node.\n`,
    );
    process.exit(2);
  }
}

/** Runs this file again with another Node, and ends as that one ends. Signals of the terminal reach both; others are passed on. */
function runWith(node) {
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: 'inherit' });
  process.on('SIGINT', () => {});
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => {
    process.stderr.write(`parity: cannot start ${node}: ${error.message}\n`);
    process.exit(2);
  });
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code ?? 2);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}
