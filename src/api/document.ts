import {
  type Document,
  isAlias,
  isDocument,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseAllDocuments,
} from 'yaml';
import type { ManifestProblem, Path } from './problem.ts';

/** A position in a file, 1-based. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** One YAML document as a value, with the way back from a field to where it stands. */
export interface ManifestDocument {
  readonly file: string;
  readonly value: unknown;
  /** Where the field stands, or the nearest field above it that does, and how many steps of the path lead there. */
  locate(path: Path, part: 'name' | 'value'): Position & { readonly depth: number };
}

/** What an API server accepts at most, so that what works here works there. */
const MAX_CHARACTERS = 1_500_000;

/**
 * The documents of a YAML text; empty ones are left out. What YAML itself forbids (syntax, a field given twice, aliases that
 * explode) comes back as problems, never as an exception.
 */
export function parseDocuments(
  text: string,
  file: string,
): { readonly documents: readonly ManifestDocument[]; readonly problems: readonly ManifestProblem[] } {
  if (text.length > MAX_CHARACTERS) {
    const message = `has ${text.length} characters; an API server accepts ${MAX_CHARACTERS} at most`;
    return { documents: [], problems: [{ message, path: '', file }] };
  }
  try {
    return readDocuments(text, file);
  } catch (error) {
    // The YAML library throws for input that is nested too deeply.
    const found = error instanceof Error ? error.message : String(error);
    return { documents: [], problems: [{ message: `cannot be read as YAML: ${found}`, path: '', file }] };
  }
}

function readDocuments(text: string, file: string): ReturnType<typeof parseDocuments> {
  const lines = new LineCounter();
  const parsed = parseAllDocuments(text, { lineCounter: lines, prettyErrors: false, logLevel: 'silent' });
  const all = (Array.isArray(parsed) ? parsed : []).filter((document) => isDocument(document));
  const problems = all.flatMap((document) =>
    [...document.errors, ...document.warnings].map(({ message, pos }) => {
      const { line, col } = lines.linePos(pos[0]);
      return { message: `is not valid YAML: ${lowerFirst(message)}`, path: '', file, line, column: col };
    }),
  );
  if (problems.length > 0) return { documents: [], problems };
  const documents: ManifestDocument[] = [];
  for (const document of all) {
    if (document.contents === null || (isScalar(document.contents) && document.contents.value === null)) continue;
    documents.push({ file, value: document.toJS({ maxAliasCount: 100 }), locate: locator(document, lines) });
  }
  return { documents, problems: [] };
}

function locator(document: Document.Parsed, lines: LineCounter): ManifestDocument['locate'] {
  return (path, part) => {
    let found = { node: resolved(document.contents, document), key: undefined as Node | undefined, depth: 0 };
    for (const step of path) {
      const next = childOf(found.node, step, document);
      if (next === undefined) break;
      found = { ...next, depth: found.depth + 1 };
    }
    // A block collection begins at its first field, one line below its name: the name is the better place to look at.
    const usesKey = (part === 'name' && found.depth === path.length) || !isFilledScalar(found.node);
    const node = usesKey ? (found.key ?? found.node) : found.node;
    const { line, col } = lines.linePos(node?.range?.[0] ?? 0);
    return { line, column: col, depth: found.depth };
  };
}

function childOf(
  node: Node | undefined,
  step: string | number,
  document: Document.Parsed,
): { node: Node | undefined; key: Node | undefined } | undefined {
  if (isSeq<Node>(node) && typeof step === 'number') {
    const item = node.items[step];
    return item === undefined ? undefined : { node: resolved(item, document), key: undefined };
  }
  if (!isMap<Node, Node | null>(node)) return undefined;
  const pair = node.items.find(({ key }: Pair<Node, Node | null>) => isScalar(key) && String(key.value) === step);
  return pair === undefined ? undefined : { node: resolved(pair.value, document), key: pair.key };
}

function resolved(node: Node | null, document: Document.Parsed): Node | undefined {
  return (isAlias(node) ? node.resolve(document) : node) ?? undefined;
}

function isFilledScalar(node: Node | undefined): boolean {
  return isScalar(node) && node.value !== null;
}

function lowerFirst(text: string): string {
  return `${text.slice(0, 1).toLowerCase()}${text.slice(1)}`;
}
