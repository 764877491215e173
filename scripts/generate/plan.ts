import { type Document, isMap, isSeq, parseDocument, type YAMLMap } from 'yaml';

const HEADER = ` Generated from pipelineparity.io_pipelineparityruns.yaml by scripts/generate.ts. Do not edit.
 A plan's spec is a run's spec without planRef, suspend and cancel, and may change.`;

/** The plan's CRD: the run's spec without what only a run has (planRef, suspend, cancel, immutability, status). */
export function planDefinition(run: string): string {
  const document = parseDocument(run.replace(/^(#.*\n)+/, ''));
  const schema = ['spec', 'versions', 0, 'schema', 'openAPIV3Schema'];
  document.commentBefore = HEADER;
  document.setIn(['metadata', 'name'], 'pipelineparityplans.pipelineparity.io');
  document.setIn(['spec', 'names'], {
    kind: 'PipelineParityPlan',
    listKind: 'PipelineParityPlanList',
    plural: 'pipelineparityplans',
    singular: 'pipelineparityplan',
    shortNames: ['ppp'],
    categories: ['parity'],
  });
  document.deleteIn(['spec', 'versions', 0, 'subresources']);
  keepAgeColumn(document);
  document.setIn([...schema, 'description'], 'A reusable spec that runs take over by planRef, kept in Git.');
  document.setIn([...schema, 'properties', 'kind', 'description'], 'Always `PipelineParityPlan`.');
  document.setIn(
    [...schema, 'properties', 'spec', 'description'],
    'The same fields as in a run; a run may give each of them itself.',
  );
  document.deleteIn([...schema, 'properties', 'status']);
  for (const field of ['planRef', 'suspend', 'cancel']) {
    document.deleteIn([...schema, 'properties', 'spec', 'properties', field]);
  }
  document.deleteIn([...schema, 'properties', 'spec', 'x-kubernetes-validations']);
  // As the formatter writes lists: without spaces inside the brackets.
  return document.toString({ lineWidth: 0 }).replaceAll(/\[ (.*?) \]/g, '[$1]');
}

function keepAgeColumn(document: Document): void {
  const columns = document.getIn(['spec', 'versions', 0, 'additionalPrinterColumns']);
  if (!isSeq(columns)) throw new Error('the definition of runs has no printer columns');
  columns.items = columns.items.filter((column): column is YAMLMap => isMap(column) && column.get('name') === 'Age');
  for (const column of columns.items) if (isMap(column)) column.set('description', 'Time since the plan was made.');
}
