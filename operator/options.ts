import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Ajv } from 'ajv';
import { parse as parseYaml } from 'yaml';
import { env } from '../src/support/env.ts';
import { ParityError } from '../src/support/error.ts';
import type { StartOptions } from './operator.ts';
import type { OperatorOptions } from './runs/types.ts';

export const usage = `The operator of Pipeline Parity: carries out the PipelineParityRuns of a cluster.

  --options=FILE         the installation as YAML: installation, namespace, image, imagePullSecrets, taskServiceAccount, executor, allow,
                         defaultWorkspace, argocd, namespaces, roleBinding, parallelRuns, nodeSelector, tolerations
  --installation=ID      id of this installation: what it makes carries it, and it removes nothing else
  --namespace=NAME       the operator's own namespace
  --image=IMAGE          image of task pods, by digest
  --executor=EXECUTOR    Jobs in the cluster (default), or Process: beside the operator, for development
  --allow=WHAT           command, embedded or fileLocations; may be given again
  --kubeconfig=FILE      default: this pod's account, KUBECONFIG, or ~/.kube/config
  --context=NAME         of the kubeconfig
  --lease=NAME           the Lease by which replicas agree on who works (default pipeline-parity; empty: there is only this one)
  --port=N               /healthz, /readyz and /metrics (default 8080)
  --concurrency=N        runs that are looked at at once (default 8)
  --sweep-seconds=N      time between two looks for what belongs to no living run (default 600; 0: never)
  --state-dir=DIR        of processes beside the operator

What a flag says goes over what the file says.
`;

/** The options of a command line; undefined where help is asked for. Throws `BadUsage` naming the flag or field. */
export async function readOptions(argv: readonly string[]): Promise<StartOptions | undefined> {
  const flags = parse(argv);
  if (flags.help === true) return undefined;
  const file = flags.options === undefined ? {} : await readFileOptions(flags.options);
  const { installation, namespace, image, executor, allow } = flags;
  const own = { installation, namespace, image, executor, allow: allow.length === 0 ? undefined : allowed(allow) };
  const options = checked({ ...defaults, ...file, ...present(own) });
  const sweepSeconds = wholeNumber(flags['sweep-seconds'], '--sweep-seconds', 0);
  return {
    ...options,
    access: present({ kubeconfig: flags.kubeconfig, context: flags.context }),
    stateDir: flags['state-dir'] ?? join(env.stateDir(), 'operator'),
    ...(flags.lease === '' ? {} : { lease: { name: flags.lease } }),
    healthPort: wholeNumber(flags.port, '--port', 0),
    concurrency: wholeNumber(flags.concurrency, '--concurrency', 1),
    ...(sweepSeconds === 0 ? {} : { sweepMs: sweepSeconds * 1000 }),
  };
}

const defaults = {
  imagePullSecrets: [],
  executor: 'Jobs',
  allow: { command: false, embedded: false, fileLocations: false },
  parallelRuns: 10,
  nodeSelector: {},
  tolerations: [],
};

function parse(argv: readonly string[]) {
  const text = { type: 'string' } as const;
  const none: string[] = [];
  try {
    return parseArgs({
      args: [...argv],
      options: {
        options: text,
        installation: text,
        namespace: text,
        image: text,
        executor: text,
        allow: { type: 'string', multiple: true, default: none },
        kubeconfig: text,
        context: text,
        lease: { ...text, default: 'pipeline-parity' },
        port: { ...text, default: '8080' },
        concurrency: { ...text, default: '8' },
        'sweep-seconds': { ...text, default: '600' },
        'state-dir': text,
        help: { type: 'boolean', short: 'h' },
      },
    }).values;
  } catch (error) {
    throw badUsage(error instanceof Error ? error.message : String(error));
  }
}

async function readFileOptions(file: string): Promise<object> {
  try {
    const found: unknown = parseYaml(await readFile(file, 'utf8'));
    if (typeof found === 'object' && found !== null) return found;
  } catch (error) {
    throw badUsage(`--options=${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
  throw badUsage(`--options=${file}: it is no YAML object`);
}

const name = { type: 'string', minLength: 1, maxLength: 253 } as const;
const texts = { type: 'object', additionalProperties: { type: 'string' } } as const;
const flag = { type: 'boolean' } as const;

/** Of `OperatorOptions`: a field that is misspelt would be a setting that nobody made. */
const schema = {
  type: 'object',
  additionalProperties: false,
  required: ['installation', 'namespace', 'image', ...Object.keys(defaults)],
  properties: {
    // It is the value of labels.
    installation: { type: 'string', pattern: '^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$' },
    namespace: name,
    image: { type: 'string', minLength: 1 },
    imagePullSecrets: { type: 'array', items: name },
    taskServiceAccount: name,
    executor: { enum: ['Jobs', 'Process'] },
    allow: {
      type: 'object',
      additionalProperties: false,
      required: ['command', 'embedded', 'fileLocations'],
      properties: { command: flag, embedded: flag, fileLocations: flag },
    },
    defaultWorkspace: {
      type: 'object',
      additionalProperties: false,
      required: ['location'],
      properties: {
        location: { type: 'string', pattern: '^(s3://|file:///)' },
        endpoint: { type: 'string' },
        region: { type: 'string' },
        secretRef: { type: 'object', additionalProperties: false, required: ['name'], properties: { name } },
      },
    },
    argocd: {
      type: 'object',
      additionalProperties: false,
      required: ['namespace', 'project', 'repoURL', 'path', 'targetRevision', 'destinationServer'],
      properties: {
        namespace: name,
        project: name,
        repoURL: name,
        path: { type: 'string' },
        targetRevision: { type: 'string' },
        destinationServer: name,
      },
    },
    namespaces: { type: 'array', minItems: 1, items: name },
    roleBinding: name,
    parallelRuns: { type: 'integer', minimum: 1 },
    nodeSelector: texts,
    tolerations: { type: 'array', items: { type: 'object' } },
  },
} as const;

function checked(options: object): OperatorOptions {
  // With processes beside the operator there is no image.
  const given: object =
    'executor' in options && options.executor === 'Process' ? { image: 'none', ...options } : options;
  const isOptions = new Ajv({ strict: false, allErrors: true }).compile<OperatorOptions>(schema);
  if (isOptions(given)) return given;
  const problems = (isOptions.errors ?? []).map(({ instancePath, message, params }) => {
    const field = instancePath.slice(1).replaceAll('/', '.') || 'the options';
    const more = 'additionalProperty' in params ? `: ${params.additionalProperty}` : '';
    return `${field} ${message}${more}`;
  });
  throw badUsage(problems.join('; '));
}

function allowed(names: readonly string[]): OperatorOptions['allow'] {
  const known = Object.keys(defaults.allow);
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) throw badUsage(`--allow=${unknown}: it is ${known.join(', ')}`);
  const is = (name: string) => names.includes(name);
  return { command: is('command'), embedded: is('embedded'), fileLocations: is('fileLocations') };
}

function wholeNumber(text: string, flag: string, least: number): number {
  const value = Number(text);
  if (text !== '' && Number.isSafeInteger(value) && value >= least) return value;
  throw badUsage(`${flag}=${text}: it is a whole number from ${least}`);
}

/** The fields that are there. */
function present<T extends object>(fields: T): { [Field in keyof T]?: Exclude<T[Field], undefined> };
function present(fields: object): object {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function badUsage(message: string): ParityError {
  return new ParityError('BadUsage', message, { advice: 'See --help.' });
}
